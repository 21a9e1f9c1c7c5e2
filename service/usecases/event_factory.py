"""Builds key events."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson

from service.domain.dsn import Ingest, project_endpoints
from service.domain.events import REPLAYED, Event, EventType, state_payload
from service.domain.model import Origin, Project, ProjectKey, utc_now
from service.domain.partitioning import shard_of


class EventFactory:
    """Builds events; ``ingest`` determines the DSNs in the payloads."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def state_of(self, key: ProjectKey, project: Project) -> dict[str, Any]:
        """Return the state of ``key`` as events contain it; see `state_payload`."""
        organization = project.organization
        endpoints = project_endpoints(self._ingest, organization.id, organization.ingest_url, project.id)
        return state_payload(key, project, endpoints)

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
            payload=orjson.dumps(self.state_of(key, project)).decode(),
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
