"""Events of keys, whole: what is going to be told is written before the transaction that it belongs to."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from service.domain.dsn import Ingest, endpoints
from service.domain.events import Event, EventType, state_payload
from service.domain.model import Origin, Project, ProjectKey
from service.domain.partitioning import shard_of


class EventFactory:
    """Makes events; ``ingest`` says where the DSNs in them lead."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def state_of(self, key: ProjectKey, project: Project) -> dict[str, Any]:
        """The state of ``key`` that an event tells."""
        return state_payload(key, project, endpoints(self._ingest, project))

    def event_of(
        self,
        kind: EventType,
        key: ProjectKey,
        project: Project,
        *,
        event_id: UUID,
        moment: datetime,
        origin: Origin,
    ) -> Event:
        """What consumers are told of ``key``.

        Args:
            kind: what happened to it.
            key: its whole state, in the version that this event tells of.
            project: its project as it is now.
            event_id: the event's own.
            moment: when it happened.
            origin: who had it done.
        """
        return Event(
            id=event_id,
            type=kind,
            public_key=key.public_key,
            version=key.version,
            shard=shard_of(key.public_key),
            payload=orjson.dumps(self.state_of(key, project)).decode(),
            headers=envelope_headers(origin),
            occurred_at=moment,
        )


def envelope_headers(origin: Origin) -> dict[str, str]:
    """What the request leaves for the envelope of its events."""
    headers = {"x-request-id": origin.request_id}
    if origin.traceparent is not None:
        headers["traceparent"] = origin.traceparent
    return headers
