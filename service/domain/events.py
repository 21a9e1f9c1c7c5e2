"""What consumers are told: the event's types, its payload and its envelope. Never a secret."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from service.domain.dsn import Endpoints, public_dsn
from service.domain.model import LoaderOptions, Project, ProjectKey, RateLimit

SOURCE: Final = "/projectkeys"
"""The context in which an event's id is unique; consumers drop an id of it that they have seen."""

REPLAYED: Final = "replayed"
"""The header of what is told again: others of its key, older or as old, may not have been told yet."""


class EventType(StrEnum):
    """What happened to a key."""

    CREATED = "projectkey.created"
    UPDATED = "projectkey.updated"
    DELETED = "projectkey.deleted"
    """The last state; a tombstone follows it in the log."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one key.

    ``payload`` is the JSON text that goes out as it is, so that a resend has the same bytes; ``headers`` are what
    the request left for the record's envelope; ``type`` is an `EventType` or what a newer release wrote.
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
    """An event between its transaction and Kafka; ``seq`` orders the events of one key."""

    seq: int
    event: Event


@lru_cache(maxsize=256)  # a write tells of one moment three times
def time_to_json(moment: datetime) -> str:
    """ISO 8601 in UTC with ``Z``; the fraction has six digits and is left out when it is zero."""
    text = moment.isoformat() if moment.tzinfo is UTC else moment.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def rate_limit_to_json(limit: RateLimit | None) -> dict[str, int] | None:
    """``{"window": seconds, "count": events}``, or None for no limit."""
    return None if limit is None else {"window": limit.window, "count": limit.count}


def loader_options_to_json(options: LoaderOptions) -> dict[str, bool]:
    """The loader's switches under their names on the wire."""
    return {
        "hasReplay": options.has_replay,
        "hasPerformance": options.has_performance,
        "hasDebug": options.has_debug,
        "hasFeedback": options.has_feedback,
        "hasLogsAndMetrics": options.has_logs_and_metrics,
    }


def state_payload(key: ProjectKey, project: Project, at: Endpoints) -> dict[str, Any]:
    """The whole current state of ``key`` as consumers see it: never a difference, never the secret."""
    return {
        "id": key.public_key,
        "version": key.version,
        "organizationId": project.organization.id,
        "projectId": project.id,
        "name": key.label,
        "isActive": key.is_active,
        "rateLimit": rate_limit_to_json(key.rate_limit),
        "dsn": {"public": public_dsn(at, key.public_key)},
        "browserSdkVersion": key.browser_sdk_version or project.default_browser_sdk_version,
        "dynamicSdkLoaderOptions": loader_options_to_json(key.loader_options),
        "dateCreated": time_to_json(key.created_at),
    }
