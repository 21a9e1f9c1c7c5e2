"""Changing and deleting keys: each change a version, committed together with its event."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from service.concurrency.tenant_queue import TenantSlots
from service.domain.audit import Action
from service.domain.errors import NotFoundError
from service.domain.events import Event, EventType, OutboxRow, loader_options_to_json, rate_limit_to_json
from service.domain.model import Origin, Project, ProjectKey, ProjectKeyChange, next_version
from service.postgres.audit import insert_audit_entry
from service.postgres.changed import delete_keys, update_key
from service.postgres.database import Connection, Database
from service.postgres.key_locks import LockedKey, lock_key
from service.usecases.event_factory import EventFactory
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known

_SLOTS: Final = 5
"""Changes in progress at the same time: each holds a connection, and creates and reads need the others."""

_WAITING: Final = 1024
_WAIT: Final = 3.0
"""Changes that may wait for a slot, and seconds that each may."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A key after a change; ``event_id`` is None where nothing of it changed."""

    key: ProjectKey
    event_id: UUID | None


@dataclass(slots=True)
class _Update(WriteAttempt):
    """``done``: what the last try that came as far as its commit made of the key."""

    done: Changed | None = None


class ChangeKeys:
    """Changes keys; ``committed`` is told of every event whose transaction has committed."""

    def __init__(
        self,
        database: Database,
        events: EventFactory,
        *,
        committed: Callable[[Sequence[OutboxRow]], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._events = events
        self._committed = committed
        self._clock = clock
        self._slots = TenantSlots(slots=_SLOTS, waiting=_WAITING, seconds=_WAIT)

    async def update(
        self, project: Project, public_key: str, change: ProjectKeyChange, origin: Origin
    ) -> Changed:
        """A key of ``project``, changed; a change that changes nothing is recorded, and makes no version.

        Raises:
            NotFoundError: the project has no such key.
            BusyError: too many changes are waiting, most of them of this tenant.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        write = _Update(origin, self._clock())
        async with self._slots.slot(project.organization.id):
            return await retry_until_known(lambda: self._update(project, public_key, change, write), write)

    async def delete(self, project: Project, public_key: str, origin: Origin) -> UUID:
        """Delete a key of ``project``; returns the id of its last event.

        Raises:
            NotFoundError: the project has no such key.
            BusyError: too many changes are waiting, most of them of this tenant.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        write = WriteAttempt(origin, self._clock())
        async with self._slots.slot(project.organization.id):
            return await retry_until_known(lambda: self._delete(project, public_key, write), write)

    async def _update(
        self, project: Project, public_key: str, change: ProjectKeyChange, write: _Update
    ) -> Changed:
        async with self._database.transaction() as connection:
            locked = await lock_key(connection, project, public_key)
            if write.done is not None and await write.was_committed(connection, project.organization.id):
                # Somebody may have changed it again since, or deleted it.
                return write.done if locked is None else replace(write.done, key=locked.key)
            if locked is None:
                raise NotFoundError(f"key {public_key}")
            key, rows = change.applied_to(locked.key), []
            if key is not locked.key:
                event = self._event_of(EventType.UPDATED, key, locked, write)
                rows = [await update_key(connection, project, key, event)]
            await _record(connection, "projectkey.edit", locked, write, _difference(locked.key, key))
            write.done = Changed(key, write.id if rows else None)
        self._committed(rows)
        return write.done

    async def _delete(self, project: Project, public_key: str, write: WriteAttempt) -> UUID:
        async with self._database.transaction() as connection:
            locked = await lock_key(connection, project, public_key)
            if await write.was_committed(connection, project.organization.id):
                return write.id
            if locked is None:
                raise NotFoundError(f"key {public_key}")
            event = self._event_of(EventType.DELETED, next_version(locked.key), locked, write)
            rows = await delete_keys(connection, project.organization.id, [locked], [event])
            await _record(connection, "projectkey.remove", locked, write, {"name": locked.key.label})
        self._committed(rows)
        return write.id

    def _event_of(self, kind: EventType, key: ProjectKey, locked: LockedKey, write: WriteAttempt) -> Event:
        return self._events.event_of(
            kind, key, locked.project, event_id=write.id, moment=write.moment, origin=write.origin
        )


async def _record(
    connection: Connection, action: Action, locked: LockedKey, write: WriteAttempt, data: dict[str, Any]
) -> None:
    await insert_audit_entry(
        connection,
        organization_id=locked.project.organization.id,
        project_id=locked.project.id,
        action=action,
        target=locked.key.public_key,
        data=data,
        origin=write.origin,
        change_id=write.id,
    )


def _difference(before: ProjectKey, after: ProjectKey) -> dict[str, Any]:
    """What changed, from and to, for the audit; empty where nothing did."""
    pairs = {
        "name": (before.label, after.label),
        "isActive": (before.is_active, after.is_active),
        "rateLimit": (rate_limit_to_json(before.rate_limit), rate_limit_to_json(after.rate_limit)),
        "browserSdkVersion": (before.browser_sdk_version, after.browser_sdk_version),
        "dynamicSdkLoaderOptions": (
            loader_options_to_json(before.loader_options),
            loader_options_to_json(after.loader_options),
        ),
    }
    return {name: {"from": old, "to": new} for name, (old, new) in pairs.items() if old != new}
