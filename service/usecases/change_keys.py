"""Updates and deletes keys: each change is a new version, committed together with its event."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.concurrency.tenant_slots import TenantSlots
from service.domain.audit import changed_values
from service.domain.errors import NotFoundError
from service.domain.events import EventType, OutboxRow, loader_options_to_json, rate_limit_to_json
from service.domain.model import Origin, Project, ProjectKey, ProjectKeyChange, next_version, utc_now
from service.postgres.database import Database
from service.postgres.key_locks import lock_key
from service.postgres.key_writes import delete_keys, update_key
from service.usecases.event_factory import EventFactory
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known


@dataclass(frozen=True, slots=True)
class UpdatedKey:
    """A key after an update; ``event_id`` is None if nothing changed."""

    key: ProjectKey
    event_id: UUID | None


@dataclass(slots=True)
class _Update(WriteAttempt):
    """An update; ``result`` is the result of the last attempt that reached its COMMIT."""

    result: UpdatedKey | None = None


class _ChangeKey:
    """Base class of `UpdateKey` and `DeleteKey`.

    ``slots`` limits the transactions that hold locks; ``on_committed`` receives the outbox rows of each committed
    transaction.
    """

    def __init__(
        self,
        database: Database,
        events: EventFactory,
        *,
        slots: TenantSlots,
        on_committed: Callable[[Sequence[OutboxRow]], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._events = events
        self._slots = slots
        self._on_committed = on_committed
        self._clock = clock


class UpdateKey(_ChangeKey):
    """Updates keys; constructed with the arguments of its base class."""

    async def execute(
        self, project: Project, public_key: str, change: ProjectKeyChange, origin: Origin
    ) -> UpdatedKey:
        """Update a key of ``project``; a change without effect has an audit entry, but no new version and no event.

        Raises:
            NotFoundError: The project has no such key.
            BusyError: Too many changes are waiting, most of them of this tenant.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        write = _Update(origin, self._clock())
        async with self._slots.slot(project.organization.id):
            return await retry_until_known(write, self._attempt, project, public_key, change, write)

    async def _attempt(
        self, project: Project, public_key: str, change: ProjectKeyChange, write: _Update
    ) -> UpdatedKey:
        rows: list[OutboxRow] = []
        async with self._database.transaction() as connection:
            locked = await lock_key(connection, project, public_key)
            if write.result is not None and await write.was_committed(connection, project.organization.id):
                # Another write may have changed or deleted the key since.
                return write.result if locked is None else replace(write.result, key=locked.key)
            if locked is None:
                raise NotFoundError(f"key {public_key}")
            key = change.applied_to(locked.key)
            if key is not locked.key:
                event = write.create_event(self._events, EventType.UPDATED, key, locked.project)
                rows.append(await update_key(connection, project, key, event))
            await write.record(
                connection, "projectkey.edit", public_key, _changes(locked.key, key), locked.project
            )
            write.result = UpdatedKey(key, write.id if rows else None)
        self._on_committed(rows)
        return write.result


class DeleteKey(_ChangeKey):
    """Deletes keys; constructed with the arguments of its base class."""

    async def execute(self, project: Project, public_key: str, origin: Origin) -> UUID:
        """Delete a key of ``project``; return the id of its last event.

        Raises:
            NotFoundError: The project has no such key.
            BusyError: Too many changes are waiting, most of them of this tenant.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        write = WriteAttempt(origin, self._clock())
        async with self._slots.slot(project.organization.id):
            return await retry_until_known(write, self._attempt, project, public_key, write)

    async def _attempt(self, project: Project, public_key: str, write: WriteAttempt) -> UUID:
        async with self._database.transaction() as connection:
            locked = await lock_key(connection, project, public_key)
            if await write.was_committed(connection, project.organization.id):
                return write.id
            if locked is None:
                raise NotFoundError(f"key {public_key}")
            event = write.create_event(
                self._events, EventType.DELETED, next_version(locked.key), locked.project
            )
            rows = await delete_keys(connection, project.organization.id, [locked], [event])
            await write.record(
                connection,
                "projectkey.remove",
                public_key,
                {"name": locked.key.label},
                locked.project,
            )
        self._on_committed(rows)
        return write.id


def _changes(before: ProjectKey, after: ProjectKey) -> dict[str, Any]:
    return changed_values(
        name=(before.label, after.label),
        isActive=(before.is_active, after.is_active),
        rateLimit=(rate_limit_to_json(before.rate_limit), rate_limit_to_json(after.rate_limit)),
        browserSdkVersion=(before.browser_sdk_version, after.browser_sdk_version),
        dynamicSdkLoaderOptions=(
            loader_options_to_json(before.loader_options),
            loader_options_to_json(after.loader_options),
        ),
    )
