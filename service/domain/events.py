"""Key events: types, payload, headers and partition. An event never contains a secret key."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid4

from service.domain.dsn import Ingest, project_endpoints
from service.domain.model import (
    LOADER_OPTIONS,
    LoaderOptions,
    Origin,
    Project,
    ProjectKey,
    RateLimit,
    utc_now,
)

SOURCE: Final = "/projectkeys"
"""The CloudEvents source of every event; source and id together identify an event."""

REPLAYED: Final = "replayed"
"""The header of replayed events; events of the key with the same or a lower version may still be unpublished."""


SHARDS: Final = 12
"""Number of partitions. Never changed: the older records of a key would be in another partition than the newer."""


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


ADDED_MEMBERS: Final = ("keyId", "expiresAt")
"""The members of the state that events of earlier releases do not have."""


def with_key_id(event: Event, key_id: int) -> Event:
    """Return the event of a new key with the key's id in the payload, as the statement that inserts it stores it."""
    return replace(event, payload=f'{{"keyId":{key_id},{event.payload[1:]}')


_MASK: Final = 0xFFFFFFFF
_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C


def shard_of(public_key: str) -> int:
    """Return the partition that Kafka's default partitioner chooses for ``public_key``.

    Source: Apache Kafka, ``BuiltInPartitioner``: 32-bit MurmurHash2 of the key's bytes with a fixed seed, without the
    sign bit, modulo the number of partitions.
    """
    data = public_key.encode()
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for word in struct.unpack(f"<{whole // 4}I", data[:whole]):
        k = (word * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    if whole < length:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return ((h ^ (h >> 15)) & 0x7FFFFFFF) % SHARDS


class EventFactory:
    """Builds events.

    Args:
        ingest: Determines the DSNs in the payloads.
        to_json: Returns a value as compact JSON.
    """

    def __init__(self, ingest: Ingest, *, to_json: Callable[[object], bytes]) -> None:
        self._ingest = ingest
        self._to_json = to_json

    def state_of(self, key: ProjectKey, project: Project) -> dict[str, Any]:
        """Return the complete state of ``key`` without its secret key, as consumers receive it.

        A key that is not inserted has no ``keyId`` yet; see `with_key_id`.
        """
        organization = project.organization
        endpoints = project_endpoints(self._ingest, organization.id, organization.ingest_url, project.id)
        return {
            **({} if key.id is None else {"keyId": key.id}),
            "id": key.public_key,
            "version": key.version,
            "organizationId": organization.id,
            "projectId": project.id,
            "name": key.label,
            "isActive": key.is_active,
            "rateLimit": key.rate_limit and rate_limit_to_json(key.rate_limit),
            "dsn": {"public": endpoints.dsn % key.public_key},
            "browserSdkVersion": key.browser_sdk_version or project.default_browser_sdk_version,
            "dynamicSdkLoaderOptions": loader_options_to_json(key.loader_options),
            "dateCreated": time_to_json(key.created_at),
            "expiresAt": key.expires_at and time_to_json(key.expires_at),
        }

    def create(
        self,
        event_type: EventType,
        key: ProjectKey,
        project: Project,
        origin: Origin,
        *,
        event_id: UUID | None = None,
        occurred_at: datetime | None = None,
        replayed: bool = False,
    ) -> Event:
        """Return an event with the complete state of ``key``.

        Args:
            event_type: The type of the event.
            key: The key in the version of the event.
            project: The current project of the key.
            origin: The origin of the change.
            event_id: The id of the event; None generates one.
            occurred_at: The time of the change; None is the current time.
            replayed: Whether the event is marked as a replay.
        """
        return Event(
            id=event_id or uuid4(),
            type=event_type,
            public_key=key.public_key,
            version=key.version,
            shard=shard_of(key.public_key),
            payload=self._to_json(self.state_of(key, project)).decode(),
            headers=event_headers(origin, replayed=replayed),
            occurred_at=occurred_at or utc_now(),
        )


def event_headers(origin: Origin, *, replayed: bool = False) -> dict[str, str]:
    """Return the headers of an event that depend on its request."""
    headers = {"x-request-id": origin.request_id}
    if origin.traceparent is not None:
        headers["traceparent"] = origin.traceparent
    if replayed:
        headers[REPLAYED] = "true"
    return headers
