"""Updates and deletes keys: each change is a new version, committed together with its event."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

from service.concurrency.batcher import Batcher
from service.concurrency.database_clock import DATABASE_CLOCK
from service.concurrency.tenant_slots import TenantSlots
from service.domain.audit import AuditRecord, changed_values
from service.domain.errors import ConflictError, KeyExpiredError, NotFoundError, UncertainError
from service.domain.events import (
    EventType,
    OutboxRow,
    loader_options_to_json,
    rate_limit_to_json,
    time_to_json,
)
from service.domain.model import Origin, Project, ProjectKey, ProjectKeyChange, next_version
from service.postgres.audit import insert_audit_records
from service.postgres.database import PostgresError
from service.postgres.key_changes import change_keys
from service.postgres.key_locks import lock_key
from service.postgres.key_writes import PreparedWrite
from service.usecases.read_keys import ReadKeys
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known
from service.usecases.writes import WriteContext, WrittenKey

_LIMITS: Final = {"max_running_batches": 1, "max_batch_size": 64, "max_queue_size": 1024}
"""As for creates."""

_MAX_BATCHES: Final = 3
"""Batches that a change joins, if the key is locked or changed by another process, before it waits for the lock."""


_Prepare: TypeAlias = Callable[[ProjectKey, Project], PreparedWrite | None]
"""Prepares a change of the current key; returns None if it has no effect."""


class ChangeKeys:
    """Updates and deletes keys.

    The changes of a key take turns within this process, with the bounds of waiting of the slots. A change reads its
    key and joins a batch, which is one statement and does not wait for locks. If the key is locked or was changed in
    between, the change is repeated, the last time in a transaction that waits for the lock.
    """

    def __init__(self, context: WriteContext, read_keys: ReadKeys) -> None:
        self._context = context
        self._read_keys = read_keys
        self._turns: WeakValueDictionary[str, TenantSlots] = WeakValueDictionary()
        self._changes = Batcher[PreparedWrite, bool](self._commit_changes, **_LIMITS)
        self._unchanged = Batcher[AuditRecord, bool](self._record_unchanged, **_LIMITS)

    async def update(
        self,
        project: Project,
        public_key: str,
        change: ProjectKeyChange,
        origin: Origin,
        *,
        key: ProjectKey | None = None,
    ) -> WrittenKey:
        """Update a key of ``project``; a change without effect has an audit entry, but no new version and no event.

        Args:
            project: The project; it may be a few seconds old.
            public_key: The key.
            change: The change.
            origin: The origin of the change.
            key: The key if the caller has read it.

        Raises:
            NotFoundError: The project has no such key.
            KeyExpiredError: The change enables a key that has expired.
            BusyError: Too many changes are waiting, most of them of this tenant.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        write = WriteAttempt(origin, self._context.clock())

        def prepare(before: ProjectKey, owner: Project) -> PreparedWrite | None:
            after = change.applied_to(before)
            if change.is_active and after.expires_at and after.expires_at <= DATABASE_CLOCK.now():
                raise KeyExpiredError
            if after is before:
                return None
            event = write.create_event(self._context.events, EventType.UPDATED, after, owner)
            return PreparedWrite(owner, after, event, origin, "projectkey.edit", changes(before, after))

        return await self._change(project, public_key, prepare, write, key)

    async def delete(self, project: Project, public_key: str, origin: Origin) -> WrittenKey:
        """Delete a key of ``project``.

        Raises:
            NotFoundError: The project has no such key.
            BusyError: Too many changes are waiting, most of them of this tenant.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        write = WriteAttempt(origin, self._context.clock())

        def prepare(before: ProjectKey, owner: Project) -> PreparedWrite:
            after = next_version(before)
            event = write.create_event(self._context.events, EventType.DELETED, after, owner)
            return PreparedWrite(owner, after, event, origin, "projectkey.remove", {"name": before.label})

        return await self._change(project, public_key, prepare, write, None)

    async def drain(self) -> None:
        """Wait until every queued change is committed or has failed."""
        await self._changes.drain()
        await self._unchanged.drain()

    async def _change(
        self, project: Project, public_key: str, prepare: _Prepare, write: WriteAttempt, key: ProjectKey | None
    ) -> WrittenKey:
        turn = self._turns.setdefault(public_key, self._context.slots.with_slots(1))
        if not turn.has_free:
            key = None  # the change that is being made replaces it
        async with turn.slot(project.organization.id):
            try:
                for _ in range(_MAX_BATCHES):
                    before = key or await self._read_keys.get(project, public_key)
                    write.result, committed = self._join_batch(project, before, prepare(before, project), write)
                    if await committed:
                        return write.result
                    key = None
            except UncertainError:
                write.uncertain = True
            async with self._context.slots.slot(project.organization.id):
                return await retry_until_known(write, self._attempt, project, public_key, prepare, write)

    def _join_batch(
        self, project: Project, before: ProjectKey, prepared: PreparedWrite | None, write: WriteAttempt
    ) -> tuple[WrittenKey, asyncio.Future[bool]]:
        """Return the result, and the future of whether it was committed; without effect it is only audited."""
        tenant = project.organization.id
        if prepared is None:
            record = write.audit_record("projectkey.edit", before.public_key, {}, project)
            return WrittenKey(before, None), self._unchanged.submit(record, tenant=tenant)
        return WrittenKey(prepared.key, write.id), self._changes.submit(prepared, tenant=tenant)

    async def _commit_changes(self, batch: Sequence[PreparedWrite]) -> Sequence[bool]:
        """Commit changes in one statement, which is one transaction; return for each whether it was committed."""
        # A change whose caller was cancelled may precede another one of its key.
        first_of_key = {prepared.key.public_key: prepared for prepared in reversed(batch)}
        try:
            async with self._context.database.connection() as connection:
                rows = await change_keys(connection, list(first_of_key.values()))
        except (PostgresError, ConflictError):  # of one row; each change is attempted alone
            return [False] * len(batch)
        self._context.on_committed(rows)
        committed = {row.event.id for row in rows}
        return [prepared.event.id in committed for prepared in batch]

    async def _record_unchanged(self, batch: Sequence[AuditRecord]) -> Sequence[bool]:
        """Insert the audit entries of changes without effect; return for each whether it was inserted."""
        try:
            async with self._context.database.connection() as connection:
                await insert_audit_records(connection, batch)
        except (PostgresError, ConflictError):  # of one row
            return [False] * len(batch)
        return [True] * len(batch)

    async def _attempt(self, project: Project, public_key: str, prepare: _Prepare, write: WriteAttempt) -> WrittenKey:
        """Change a key in a transaction that waits for its lock."""
        rows: list[OutboxRow] = []
        async with self._context.database.transaction() as connection:
            locked = await lock_key(connection, project, public_key)
            if write.result is not None and await write.was_committed(connection, project.organization.id):
                # Another write may have changed or deleted the key since.
                return write.result if locked is None else replace(write.result, key=locked.key)
            if locked is None:
                raise NotFoundError(f"key {public_key}")
            prepared = prepare(locked.key, locked.project)
            if prepared is None:
                await write.record(connection, "projectkey.edit", public_key, {}, locked.project)
            elif not (rows := await change_keys(connection, [prepared])):
                raise ConflictError(f"the organization of the key {public_key} was changed at the same time")
            write.result = WrittenKey(prepared.key if prepared else locked.key, write.id if rows else None)
        self._context.on_committed(rows)
        return write.result


def changes(before: ProjectKey, after: ProjectKey) -> dict[str, Any]:
    """Return the changed members of a key with their values, as an audit entry contains them."""
    return changed_values(
        name=(before.label, after.label),
        isActive=(before.is_active, after.is_active),
        rateLimit=(rate_limit_to_json(before.rate_limit), rate_limit_to_json(after.rate_limit)),
        browserSdkVersion=(before.browser_sdk_version, after.browser_sdk_version),
        dynamicSdkLoaderOptions=(
            loader_options_to_json(before.loader_options),
            loader_options_to_json(after.loader_options),
        ),
        expiresAt=(
            before.expires_at and time_to_json(before.expires_at),
            after.expires_at and time_to_json(after.expires_at),
        ),
    )
