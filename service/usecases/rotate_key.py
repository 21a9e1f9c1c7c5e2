"""Rotates keys: a new key takes the place of an old one, which stays active for an overlap."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from service.domain.errors import ConflictError, KeyStateError, NotFoundError
from service.domain.events import EventType
from service.domain.idempotency import IdempotencyKey
from service.domain.model import (
    NewProjectKey,
    Origin,
    Project,
    ProjectKey,
    Rotation,
    Unset,
    new_key_half,
    next_version,
)
from service.postgres.database import Connection
from service.postgres.key_changes import change_keys
from service.postgres.key_lifecycle import select_successor
from service.postgres.key_locks import LockedKey, lock_key
from service.postgres.key_writes import PreparedWrite, insert_keys
from service.usecases.change_keys import changes
from service.usecases.create_key import prepare_key
from service.usecases.idempotency import read_created
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known
from service.usecases.writes import WriteContext, WrittenKey


def second_event_id(event_id: UUID, public_key: str) -> UUID:
    """Return the id of the old key's event, which follows from that of the new key: only that one is stored."""
    return uuid5(event_id, public_key)


def _further(event_id: UUID, public_key: str) -> Sequence[tuple[UUID, str]]:
    return [(second_event_id(event_id, public_key), public_key)]


@dataclass(slots=True)
class _Write(WriteAttempt):
    """A rotation; all attempts create the same key."""

    idempotency_key: IdempotencyKey | None = None
    public_key: str = field(default_factory=new_key_half)
    secret_key: str = field(default_factory=new_key_half)


class RotateKey:
    """Rotates keys: the new key, the change of the old one, and their two events are committed together."""

    def __init__(self, context: WriteContext) -> None:
        self._context = context

    async def execute(
        self,
        project: Project,
        public_key: str,
        rotation: Rotation,
        origin: Origin,
        idempotency_key: IdempotencyKey | None = None,
    ) -> WrittenKey:
        """Create the successor of a key, or return the one that an earlier request with ``idempotency_key`` created.

        Raises:
            NotFoundError: The project has no such key.
            KeyStateError: The key is not active, or has a successor.
            IdempotencyKeyInUseError: A request with ``idempotency_key`` is running.
            IdempotencyKeyReusedError: ``idempotency_key`` belongs to another request.
            GoneError: The key that the first request with ``idempotency_key`` created is deleted.
            BusyError: Too many writes are waiting, most of them of this tenant.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        async with self._context.idempotency.request(idempotency_key) as request:
            if request.stored is None:
                write = _Write(origin, self._context.clock(), idempotency_key=idempotency_key)
                async with self._context.slots.slot(project.organization.id):
                    return await retry_until_known(write, self._attempt, project, public_key, rotation, write)
        stored = request.stored
        assert stored.event_id is not None, "a rotation has events"
        key = await read_created(self._context.database, project, stored.target_id)
        return WrittenKey(key, stored.event_id, replayed=True, further_events=_further(stored.event_id, public_key))

    async def _attempt(self, project: Project, public_key: str, rotation: Rotation, write: _Write) -> WrittenKey:
        async with self._context.database.transaction() as connection:
            locked = await lock_key(connection, project, public_key)
            if write.result is not None and await write.was_committed(connection, project.organization.id):
                return write.result
            if locked is None:
                raise NotFoundError(f"key {public_key}")
            now = await _check_state(connection, locked)
            successor = self._successor_of(locked, rotation, write)
            rows = await insert_keys(connection, [successor])
            rows += await change_keys(connection, [self._rotated(locked, rotation, write, now)])
            if len(rows) != 2:  # noqa: PLR2004 -- both keys
                raise ConflictError(f"the tenant of the key {public_key} was changed at the same time")
            write.result = WrittenKey(successor.key, write.id, further_events=_further(write.id, public_key))
        self._context.on_committed(rows)
        return write.result

    def _successor_of(self, locked: LockedKey, rotation: Rotation, write: _Write) -> PreparedWrite:
        old, expires_at = locked.key, rotation.expires_at
        new_key = NewProjectKey(
            name=rotation.name or old.label,
            public_key=write.public_key,
            secret_key=write.secret_key,
            rate_limit=old.rate_limit,
            browser_sdk_version=old.browser_sdk_version,
            loader_options=old.loader_options,
            expires_at=old.expires_at if isinstance(expires_at, Unset) else expires_at,
        )
        return prepare_key(
            self._context.events,
            new_key,
            locked.project,
            write.origin,
            write.occurred_at,
            idempotency_key=write.idempotency_key,
            event_id=write.id,
        )

    def _rotated(self, locked: LockedKey, rotation: Rotation, write: _Write, now: datetime) -> PreparedWrite:
        """Return the change of the old key: it expires after the overlap, or earlier if it would have anyway."""
        before, project = locked.key, locked.project
        end = now + timedelta(seconds=rotation.overlap)
        after = replace(
            next_version(before),
            is_active=rotation.overlap > 0,
            expires_at=end if before.expires_at is None else min(before.expires_at, end),
        )
        event = self._context.events.create(
            EventType.UPDATED,
            after,
            project,
            write.origin,
            event_id=second_event_id(write.id, before.public_key),
            occurred_at=write.occurred_at,
        )
        data = {**changes(before, after), "rotatedTo": write.public_key}
        return PreparedWrite(
            project, after, event, write.origin, "projectkey.rotate", data, rotated_to=write.public_key
        )


async def _check_state(connection: Connection, locked: LockedKey) -> datetime:
    """Return the time of the database; raise `KeyStateError` unless the key is active and has no successor."""
    key: ProjectKey = locked.key
    now, successor = await select_successor(connection, key, locked.project)
    if successor is not None:
        raise KeyStateError(f"The key was rotated to {successor}. Rotate that key, or delete it first.")
    if not key.is_active:
        raise KeyStateError("The key is disabled. Enable it first, or create another key.")
    if key.expires_at is not None and key.expires_at <= now:
        raise KeyStateError("The key has expired. Set expiresAt to a later time or to null first.")
    return now
