"""Creates keys, each committed together with its event."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import petname

from service.concurrency.batcher import Batcher
from service.concurrency.database_clock import DATABASE_CLOCK
from service.domain.errors import (
    BusyError,
    ConflictError,
    KeyStateError,
    NotFoundError,
    ProjectKeyError,
    TakenError,
    UncertainError,
)
from service.domain.events import EventFactory, EventType, OutboxRow
from service.domain.idempotency import IdempotencyKey
from service.domain.model import NewProjectKey, Origin, Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.deleted_keys import DeletedKey, lock_deleted_key, lock_public_keys, remove_deleted_key
from service.postgres.key_lifecycle import lock_name, select_by_name
from service.postgres.key_writes import BatchRejectedError, PreparedWrite, insert_keys
from service.postgres.keys import select_taken
from service.usecases.idempotency import IdempotentRequest, read_created
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known
from service.usecases.writes import WriteContext, WrittenKey

_MAX_RUNNING_BATCHES: Final = 1
"""Two batches at the same time would have half as many keys each, and the cost in Postgres would double."""

_MAX_BATCH_SIZE: Final = 64
"""Keys in a batch. Larger batches take longer and do not increase the throughput."""

_MAX_QUEUE_SIZE: Final = 1024
"""Creates that wait for a batch: about a quarter of a second of work."""

_MAX_WORD_LENGTH: Final = 10
"""Maximum number of letters of each word of a generated name."""

_NO_KEY: Final = nullcontext(IdempotentRequest())
"""The context of a request without an idempotency key."""


class CreateKey:
    """Creates keys; creates that arrive while a transaction is running share the next transaction."""

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._batcher = Batcher[PreparedWrite, PreparedWrite](
            self._commit_batch,
            max_running_batches=_MAX_RUNNING_BATCHES,
            max_batch_size=_MAX_BATCH_SIZE,
            max_queue_size=_MAX_QUEUE_SIZE,
        )

    async def execute(
        self,
        new_key: NewProjectKey,
        project: Project,
        origin: Origin,
        idempotency_key: IdempotencyKey | None = None,
    ) -> WrittenKey:
        """Create a key of ``project``, or return the key that an earlier request with ``idempotency_key`` created.

        Raises:
            TakenError: ``new_key`` contains a public or secret key that is in use.
            NotFoundError: The project is deleted.
            IdempotencyKeyInUseError: A request with ``idempotency_key`` is running.
            IdempotencyKeyReusedError: ``idempotency_key`` belongs to another request.
            GoneError: The key that the first request with ``idempotency_key`` created is deleted.
            BusyError: Too many creates are waiting, most of them of this tenant.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        request_context = _NO_KEY if idempotency_key is None else self._context.idempotency.request(idempotency_key)
        async with request_context as request:
            if request.stored is None:
                prepared = prepare_key(
                    self._context.events,
                    new_key,
                    project,
                    origin,
                    self._context.clock(),
                    idempotency_key=idempotency_key,
                )
                if new_key.public_key is not None:
                    prepared = await self._commit_alone(prepared)
                else:
                    try:
                        await self._batcher.submit(prepared, tenant=project.organization.id)
                    except (ConflictError, UncertainError) as error:
                        uncertain = isinstance(error, UncertainError)
                        prepared = await self._commit_alone(prepared, uncertain=uncertain)
                return WrittenKey(prepared.key, prepared.event.id)
        key = await read_created(self._context.database, project, request.stored.target_id)
        return WrittenKey(key, request.stored.event_id, replayed=True)

    async def get_or_create(self, name: str, new_key: NewProjectKey, project: Project, origin: Origin) -> WrittenKey:
        """Return the active key of this name that expires last, without an event, or create ``new_key``.

        Raises:
            KeyStateError: The keys of this name that have not expired are disabled.
            TakenError: ``new_key`` contains a public or secret key that is in use.
            NotFoundError: The project is deleted.
            BusyError: Too many creates are waiting, most of them of this tenant.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        async with self._context.database.connection() as connection:
            found = await _find_named(connection, project, name)
        if found is not None:
            return WrittenKey(found, None)
        prepared = prepare_key(
            self._context.events, replace(new_key, name=name), project, origin, self._context.clock()
        )
        write = WriteAttempt(origin, prepared.key.created_at, prepared.event.id)
        return await retry_until_known(write, self._attempt_named, prepared, write)

    async def drain(self) -> None:
        """Wait until every queued create is committed or has failed."""
        await self._batcher.drain()

    async def _commit_batch(self, batch: Sequence[PreparedWrite]) -> Sequence[PreparedWrite | Exception]:
        """Commit keys in one statement, which is one transaction."""
        try:
            async with self._context.database.connection() as connection:
                rows = await insert_keys(connection, batch)
                self._context.on_committed(rows)
                if len(rows) == len(batch):
                    return batch
                inserted = {row.event.public_key for row in rows}
                return [
                    prepared if prepared.key.public_key in inserted else await _find_conflict(connection, prepared)
                    for prepared in batch
                ]
        except BatchRejectedError:
            return await self._commit_each(batch)

    async def _commit_each(self, batch: Sequence[PreparedWrite]) -> Sequence[PreparedWrite | Exception]:
        """Commit each key in its own transaction, so that a rejected row does not fail the others."""
        return await asyncio.gather(*map(self._commit_one, batch))

    async def _commit_one(self, prepared: PreparedWrite) -> PreparedWrite | Exception:
        try:
            return (await self._commit_batch([prepared]))[0]
        except Exception as error:  # noqa: BLE001 -- the caller of this key receives it
            return error

    async def _commit_alone(self, prepared: PreparedWrite, *, uncertain: bool = False) -> PreparedWrite:
        """Commit a key in its own transaction; a deleted key of the tenant is created again in its next version.

        ``uncertain`` means that the batch of the key may have been committed.
        """
        write = WriteAttempt(prepared.origin, prepared.key.created_at, prepared.event.id, uncertain=uncertain)
        return await retry_until_known(write, self._attempt_alone, prepared, write)

    async def _attempt_alone(self, prepared: PreparedWrite, write: WriteAttempt) -> PreparedWrite:
        organization_id = prepared.project.organization.id
        async with self._context.slots.slot(organization_id), self._context.database.transaction() as connection:
            prepared, rows = await self._insert_alone(connection, prepared, write)
        self._context.on_committed(rows)
        return prepared

    async def _insert_alone(
        self, connection: Connection, prepared: PreparedWrite, write: WriteAttempt
    ) -> tuple[PreparedWrite, Sequence[OutboxRow]]:
        """Insert a key; return it as it was inserted, with its outbox row unless an earlier attempt was committed."""
        organization_id, public_key = prepared.project.organization.id, prepared.key.public_key
        await lock_public_keys(connection, [public_key])
        deleted = await lock_deleted_key(connection, public_key)
        if deleted is not None:
            if await write.was_committed(connection, organization_id):
                return prepared, []  # the key has been deleted since
            prepared = self._next_version(prepared, deleted)
        rows = await insert_keys(connection, [prepared])
        if not rows:
            if await write.was_committed(connection, organization_id):
                return prepared, []
            raise await _find_conflict(connection, prepared)
        if await remove_deleted_key(connection, public_key, organization_id=organization_id) != deleted:
            raise BusyError(f"the key {public_key} was deleted at the same time")
        return prepared, rows

    async def _attempt_named(self, prepared: PreparedWrite, write: WriteAttempt) -> WrittenKey:
        project, name = prepared.project, prepared.key.label
        organization_id = project.organization.id
        async with self._context.slots.slot(organization_id), self._context.database.transaction() as connection:
            await lock_name(connection, project, name)
            if await write.was_committed(connection, organization_id):
                return WrittenKey(prepared.key, prepared.event.id)  # it may have been changed or deleted since
            found = await _find_named(connection, project, name)
            if found is not None:
                return WrittenKey(found, None)
            prepared, rows = await self._insert_alone(connection, prepared, write)
        self._context.on_committed(rows)
        return WrittenKey(prepared.key, prepared.event.id)

    def _next_version(self, prepared: PreparedWrite, deleted: DeletedKey) -> PreparedWrite:
        """Return ``prepared`` in the version after ``deleted``; raise `TakenError` for a key of another tenant."""
        project = prepared.project
        if deleted.organization_id != project.organization.id:
            raise TakenError("public_key")
        key = replace(prepared.key, version=deleted.version + 1)
        event = self._context.events.create(
            EventType.CREATED,
            key,
            project,
            prepared.origin,
            event_id=prepared.event.id,
            occurred_at=key.created_at,
        )
        return replace(prepared, key=key, event=event)


def prepare_key(
    events: EventFactory,
    new_key: NewProjectKey,
    project: Project,
    origin: Origin,
    created_at: datetime,
    *,
    idempotency_key: IdempotencyKey | None = None,
    event_id: UUID | None = None,
) -> PreparedWrite:
    """Return a new key with its event; values are chosen here, so that every attempt commits the same ones."""
    random = os.urandom(48)  # one system call for both halves of the key and the id of the event
    key = ProjectKey(
        project_id=project.id,
        label=new_key.name or petname.generate(2, " ", letters=_MAX_WORD_LENGTH).title(),
        public_key=new_key.public_key or random[:16].hex(),
        secret_key=new_key.secret_key or random[16:32].hex(),
        is_active=True,
        rate_limit=new_key.rate_limit,
        browser_sdk_version=new_key.browser_sdk_version,
        loader_options=new_key.loader_options,
        version=1,
        created_at=created_at,
        expires_at=new_key.expires_at,
    )
    event_id = event_id or UUID(bytes=random[32:], version=4)
    event = events.create(EventType.CREATED, key, project, origin, event_id=event_id, occurred_at=created_at)
    return PreparedWrite(project=project, key=key, event=event, origin=origin, idempotency_key=idempotency_key)


async def _find_named(connection: Connection, project: Project, name: str) -> ProjectKey | None:
    """Return the active key of a name; None if there is none.

    Raises:
        KeyStateError: There is none, but one that was disabled by a request.
    """
    now = DATABASE_CLOCK.now()
    found = await select_by_name(connection, project, name, active=True, now=now)
    if found is None and await select_by_name(connection, project, name, active=False, now=now):
        raise KeyStateError("The key of this name is disabled. Enable it, delete it, or use another name.")
    return found


async def _find_conflict(connection: Connection, prepared: PreparedWrite) -> ProjectKeyError:
    """Return the reason why a key was not inserted."""
    taken = await select_taken(connection, prepared.key)
    return TakenError(*taken) if taken else NotFoundError(f"project {prepared.project.id}")
