"""Key events: types, payload and headers. An event never contains a secret key."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from service.domain.dsn import Endpoints, public_dsn
from service.domain.model import LoaderOptions, Project, ProjectKey, RateLimit

SOURCE: Final = "/projectkeys"
"""The CloudEvents source of every event; consumers discard an event whose id they have processed."""

REPLAYED: Final = "replayed"
"""The header that marks replayed events; earlier events of the same key may still be unpublished."""


class EventType(StrEnum):
    """The type of a change of a key."""

    CREATED = "projectkey.created"
    UPDATED = "projectkey.updated"
    DELETED = "projectkey.deleted"
    """Contains the last state; a tombstone follows it in the topic."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one key.

    ``payload`` is the JSON text of the record: a record that is sent again has the same bytes. ``headers`` are
    headers of the record that come from the request. ``type`` is an `EventType` or a type of a newer release.
    """

    id: UUID
    type: str
    public_key: str
    version: int
    shard: int
    payload: str
    headers: dict[str, str]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A committed event that is not published yet; ``seq`` orders the events of one key."""

    seq: int
    event: Event


@lru_cache(maxsize=256)  # a write formats one timestamp up to three times
def time_to_json(timestamp: datetime) -> str:
    """Format as ISO 8601 in UTC with ``Z``; the fraction has six digits, none if it is zero."""
    text = timestamp.isoformat() if timestamp.tzinfo is UTC else timestamp.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def rate_limit_to_json(limit: RateLimit | None) -> dict[str, int] | None:
    """Return ``{"window": seconds, "count": events}``, or None for no limit."""
    return None if limit is None else {"window": limit.window, "count": limit.count}


def loader_options_to_json(options: LoaderOptions) -> dict[str, bool]:
    """Return the loader options by their names in JSON."""
    return {
        "hasReplay": options.has_replay,
        "hasPerformance": options.has_performance,
        "hasDebug": options.has_debug,
        "hasFeedback": options.has_feedback,
        "hasLogsAndMetrics": options.has_logs_and_metrics,
    }


def state_payload(key: ProjectKey, project: Project, endpoints: Endpoints) -> dict[str, Any]:
    """Return the complete state of ``key`` without its secret key, as consumers receive it."""
    return {
        "id": key.public_key,
        "version": key.version,
        "organizationId": project.organization.id,
        "projectId": project.id,
        "name": key.label,
        "isActive": key.is_active,
        "rateLimit": rate_limit_to_json(key.rate_limit),
        "dsn": {"public": public_dsn(endpoints, key.public_key)},
        "browserSdkVersion": key.browser_sdk_version or project.default_browser_sdk_version,
        "dynamicSdkLoaderOptions": loader_options_to_json(key.loader_options),
        "dateCreated": time_to_json(key.created_at),
    }
