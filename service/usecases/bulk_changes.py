"""Many keys in one transaction, each with its event."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from service.domain.events import REPLAYED, Event, EventType, OutboxRow
from service.domain.model import Origin, Project, ProjectKey, next_version
from service.domain.partitioning import shard_of
from service.postgres.batch_jobs import JobKind, NewJob, insert_job
from service.postgres.changed import delete_keys, raise_versions
from service.postgres.database import Connection
from service.postgres.deleted_keys import DeletedVersion
from service.postgres.key_locks import Batch, LockedKey, lock_keys
from service.postgres.outbox import count_outbox, insert_events
from service.postgres.projects import delete_project, hide_project
from service.postgres.shards import count_publishers
from service.usecases.event_factory import EventFactory, envelope_headers

MOST: Final = 500
"""Keys in one transaction: some 50 ms of locks."""

_CROWDED: Final = 2_000
"""Rows on their way from which on batches wait: live events go first."""


async def is_crowded(connection: Connection) -> bool:
    """Whether so much is on its way to Kafka that a batch more would keep live events from their place.

    Never where nobody publishes: rows that change-data capture reads stay, and say nothing of what is on its way.
    """
    if not await count_publishers(connection):
        return False
    return await count_outbox(connection, most=_CROWDED) >= _CROWDED


class BulkChanges:
    """Changes many keys in its caller's transaction; gives the rows of their events."""

    def __init__(self, events: EventFactory) -> None:
        self._events = events

    async def delete_project(
        self, connection: Connection, project: Project, origin: Origin
    ) -> list[OutboxRow]:
        """Delete a locked project with its keys; those that are too many for one transaction are left to a job."""
        organization_id = project.organization.id
        of_project = Batch(organization_id=organization_id, project_id=project.id)
        locked, _ = await lock_keys(connection, of_project, limit=MOST + 1)
        if len(locked) > MOST:
            await hide_project(connection, project)
            job = NewJob(
                kind=JobKind.PROJECT_DELETE,
                origin=origin,
                organization_id=organization_id,
                project_id=project.id,
            )
            await insert_job(connection, job)
            return []
        rows = await self.delete(connection, organization_id, locked, origin)
        await delete_project(connection, organization_id=organization_id, project_id=project.id)
        return rows

    async def delete(
        self, connection: Connection, organization_id: int, locked: Sequence[LockedKey], origin: Origin
    ) -> list[OutboxRow]:
        """Delete locked keys of an organization."""
        events = [self._next(EventType.DELETED, one, origin) for one in locked]
        return await delete_keys(connection, organization_id, locked, events) if events else []

    async def raise_versions(
        self, connection: Connection, organization_id: int, locked: Sequence[LockedKey], origin: Origin
    ) -> list[OutboxRow]:
        """Give locked keys of an organization their next version, as they are."""
        events = [self._next(EventType.UPDATED, one, origin) for one in locked]
        return await raise_versions(connection, organization_id, locked, events) if events else []

    async def raise_beyond(
        self, connection: Connection, locked: Sequence[tuple[LockedKey, int]], origin: Origin
    ) -> list[OutboxRow]:
        """Give locked keys of any organization, as they are, the version after the one beside each."""
        if not locked:
            return []
        raised = [(one, replace(one.key, version=version + 1)) for one, version in locked]
        events = [self._event_of(EventType.UPDATED, key, one.project, origin) for one, key in raised]
        return await raise_versions(connection, None, [one for one, _ in locked], events)

    async def repeat(
        self, connection: Connection, locked: Sequence[LockedKey], origin: Origin
    ) -> list[OutboxRow]:
        """Tell of locked keys again, as they are, in the version that they have.

        Each telling is an event of its own, with an id of its own: whoever passes over ids that he has seen shall
        hear it, for what it mends may be his. Only a resend of the same row has the same id.
        """
        events = [
            self._event_of(_last_told(one.key), one.key, one.project, origin, replayed=True) for one in locked
        ]
        return await insert_events(connection, events) if events else []

    async def repeat_deletions(
        self, connection: Connection, gone: Sequence[DeletedVersion], origin: Origin
    ) -> list[OutboxRow]:
        """Tell of locked deleted keys again: by their tombstones alone, for their last states are gone."""
        now = datetime.now(UTC)
        events = [
            Event(
                id=uuid4(),
                type=EventType.DELETED,
                public_key=one.public_key,
                version=one.version,
                shard=shard_of(one.public_key),
                payload="null",
                headers={**envelope_headers(origin), **_REPLAYED},
                occurred_at=now,
            )
            for one in gone
        ]
        return await insert_events(connection, events) if events else []

    def _next(self, kind: EventType, one: LockedKey, origin: Origin) -> Event:
        return self._event_of(kind, next_version(one.key), one.project, origin)

    def _event_of(
        self,
        kind: EventType,
        key: ProjectKey,
        project: Project,
        origin: Origin,
        *,
        replayed: bool = False,
    ) -> Event:
        event = self._events.event_of(
            kind, key, project, event_id=uuid4(), moment=datetime.now(UTC), origin=origin
        )
        return replace(event, headers={**event.headers, **_REPLAYED}) if replayed else event


_REPLAYED: Final = {REPLAYED: "true"}
"""In the envelope of what is told again."""


def _last_told(key: ProjectKey) -> EventType:
    return EventType.CREATED if key.version == 1 else EventType.UPDATED
