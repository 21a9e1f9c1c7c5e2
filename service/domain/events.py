"""Key events: types, payload and headers. An event never contains a secret key."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from service.domain.dsn import Endpoints
from service.domain.model import LOADER_OPTIONS, LoaderOptions, Project, ProjectKey, RateLimit

SOURCE: Final = "/projectkeys"
"""The CloudEvents source of every event; source and id together identify an event."""

REPLAYED: Final = "replayed"
"""The header of replayed events; events of the key with the same or a lower version may still be unpublished."""


class EventType(StrEnum):
    """The types of key events."""

    CREATED = "projectkey.created"
    UPDATED = "projectkey.updated"
    DELETED = "projectkey.deleted"
    """The payload is the last state of the key; a tombstone follows in the topic."""


@dataclass(slots=True)  # not frozen: see `NewProjectKey`
class Event:
    """An event that announces one version of a key.

    ``type`` is an `EventType`, or a type that a newer release has added. ``payload`` is the JSON text of the record's
    value, stored so that a resend has the same bytes. ``headers`` are the headers of the record that depend on the
    request.
    """

    id: UUID
    type: str
    public_key: str
    version: int
    shard: int
    payload: str
    headers: dict[str, str]
    occurred_at: datetime


@dataclass(slots=True)  # not frozen: see `NewProjectKey`
class OutboxRow:
    """A committed event that is not published yet; ``seq`` determines the order of the events of a key."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A row that Kafka rejects; the later rows of its key stay in the outbox too.

    Attributes:
        shard: The shard.
        seq: The row's number.
        public_key: The key.
        type: The event's type.
        version: The key's version in this event.
        since: When it was parked.
        attempts: How often Kafka rejected it.
        reason: Kafka's last error.
        organization_id: The key's organization; None if neither the payload nor a row of `deleted_key` contains it.
        project_id: The key's project; None in the same case.
    """

    shard: int
    seq: int
    public_key: str
    type: str
    version: int
    since: datetime
    attempts: int
    reason: str
    organization_id: int | None
    project_id: int | None


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """A record of the topic with its position."""

    partition: int
    offset: int
    timestamp_ms: int
    key: str
    headers: dict[str, str]
    value: bytes | None


@lru_cache(maxsize=256)  # a write formats one timestamp up to three times
def time_to_json(timestamp: datetime) -> str:
    """Return ``timestamp`` as ISO 8601 in UTC with ``Z``, and with six fractional digits unless they are zero."""
    text = timestamp.isoformat() if timestamp.tzinfo is UTC else timestamp.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def rate_limit_to_json(limit: RateLimit | None) -> dict[str, int] | None:
    """Return ``{"window": seconds, "count": events}``, or None for no limit."""
    return None if limit is None else {"window": limit.window, "count": limit.count}


@lru_cache(maxsize=32)  # five options make 32 values
def loader_options_to_json(options: LoaderOptions) -> dict[str, bool]:
    """Return ``{"hasReplay": bool, …}`` with every option; do not modify it."""
    return dict(zip(LOADER_OPTIONS, options, strict=True))


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
        "dsn": {"public": endpoints.dsn % key.public_key},
        "browserSdkVersion": key.browser_sdk_version or project.default_browser_sdk_version,
        "dynamicSdkLoaderOptions": loader_options_to_json(key.loader_options),
        "dateCreated": time_to_json(key.created_at),
    }
