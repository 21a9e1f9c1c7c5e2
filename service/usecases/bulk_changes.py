"""Changes of many keys in one transaction, each with its event."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final
from uuid import uuid4

from service.domain.events import Event, EventFactory, EventType, OutboxRow, event_headers, shard_of
from service.domain.model import Origin, Project, next_version, utc_now
from service.postgres.batch_jobs import JobKind, NewJob, insert_job
from service.postgres.database import Connection
from service.postgres.deleted_keys import DeletedVersion
from service.postgres.key_locks import KeyRange, LockedKey, lock_keys
from service.postgres.key_writes import delete_keys, update_versions
from service.postgres.outbox import count_outbox, insert_events
from service.postgres.projects import delete_project, hide_project
from service.postgres.shards import count_publishers

BATCH_SIZE: Final = 500
"""Maximum number of keys in a transaction, which holds its locks for about 50 ms."""

ShowProgress = Callable[[int, int], None]
"""Shows the progress of a step: the number of processed items, and of all; 0 if that is not known."""

ProgressOf = Callable[[str], AbstractContextManager[ShowProgress]]
"""Opens the progress display of a step; the argument is its title."""

_MAX_OUTBOX_ROWS: Final = 2_000
"""Length of the outbox from which batches wait, so that live events are published first."""

_OUTBOX_POLL: Final = 0.1
"""Seconds between checks of the length of the outbox."""


async def is_outbox_full(connection: Connection) -> bool:
    """Return whether the outbox has so many rows that a batch would delay live events.

    Always False while no publisher is running: change data capture does not delete the rows that it reads, so their
    number does not show a delay.
    """
    if not await count_publishers(connection):
        return False
    return await count_outbox(connection, most=_MAX_OUTBOX_ROWS) >= _MAX_OUTBOX_ROWS


async def wait_for_outbox(connection: Connection) -> None:
    """Wait until the outbox has room for a batch; outside of a transaction."""
    while await is_outbox_full(connection):
        await asyncio.sleep(_OUTBOX_POLL)


class BulkChanges:
    """Changes many keys in the transaction of the caller; each method returns the outbox rows of the events."""

    def __init__(self, events: EventFactory) -> None:
        self._events = events

    async def delete_project(self, connection: Connection, project: Project, origin: Origin) -> list[OutboxRow]:
        """Delete a locked project with its keys; more than `BATCH_SIZE` keys are deleted by a job."""
        organization_id = project.organization.id
        keys = KeyRange(organization_id=organization_id, project_id=project.id)
        locked, _ = await lock_keys(connection, keys, limit=BATCH_SIZE + 1)
        if len(locked) > BATCH_SIZE:
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
        self, connection: Connection, organization_id: int, keys: Sequence[LockedKey], origin: Origin
    ) -> list[OutboxRow]:
        """Delete locked keys of an organization."""
        events = [
            self._events.create(EventType.DELETED, next_version(locked.key), locked.project, origin)
            for locked in keys
        ]
        return await delete_keys(connection, organization_id, keys, events) if events else []

    async def raise_versions(
        self,
        connection: Connection,
        organization_id: int | None,
        keys: Sequence[tuple[LockedKey, int]],
        origin: Origin,
    ) -> list[OutboxRow]:
        """Raise the versions of locked keys, without another change; None means keys of several organizations."""
        if not keys:
            return []
        events = [
            self._events.create(EventType.UPDATED, replace(locked.key, version=version), locked.project, origin)
            for locked, version in keys
        ]
        return await update_versions(connection, organization_id, [locked for locked, _ in keys], events)

    async def republish(self, connection: Connection, keys: Sequence[LockedKey], origin: Origin) -> list[OutboxRow]:
        """Publish the current state of locked keys again, in their current version.

        Each event has a new id, so that consumers that discard processed ids process it: it may repair their state.
        Only a resend has the id of the first event.
        """
        events = [
            self._events.create(
                EventType.CREATED if locked.key.version == 1 else EventType.UPDATED,
                locked.key,
                locked.project,
                origin,
                replayed=True,
            )
            for locked in keys
        ]
        return await insert_events(connection, events) if events else []

    async def republish_deletions(
        self, connection: Connection, deleted: Sequence[DeletedVersion], origin: Origin
    ) -> list[OutboxRow]:
        """Publish the tombstones of locked deleted keys again, without their last states, which are not stored."""
        now = utc_now()
        events = [
            Event(
                id=uuid4(),
                type=EventType.DELETED,
                public_key=key.public_key,
                version=key.version,
                shard=shard_of(key.public_key),
                payload="null",
                headers=event_headers(origin, replayed=True),
                occurred_at=now,
            )
            for key in deleted
        ]
        return await insert_events(connection, events) if events else []
