"""The use case of the service: a new key, committed together with its event."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import petname

from service.concurrency.batcher import Batcher
from service.concurrency.tenant_queue import TenantSlots
from service.domain.errors import (
    BusyError,
    GoneError,
    KeyInUseError,
    NotFoundError,
    ProjectKeyError,
    TakenError,
)
from service.domain.events import EventType, OutboxRow
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.domain.model import NewProjectKey, Origin, Project, ProjectKey, new_key_half
from service.postgres.database import Connection, Database
from service.postgres.deleted_keys import forget_deleted, lock_deleted
from service.postgres.idempotency import CONSTRAINT
from service.postgres.key_writes import PreparedKey, insert_keys
from service.postgres.keys import select_by_row_id, select_standing
from service.postgres.projects import select_project
from service.usecases.event_factory import EventFactory
from service.usecases.idempotency import Idempotency
from service.usecases.uncertain_writes import retry_until_known

_FLIGHTS: Final = 1
"""Transactions under way at a time: with two, each carries half as much and Postgres pays twice."""

_MOST: Final = 64
"""Keys in one transaction: beyond it a flight takes longer and carries no more a second."""

_WAITING: Final = 1024
"""Creates that may wait for a flight: about a quarter of a second of work; more are told to come again."""

_ALONE: Final = 2
"""Creates in a transaction of their own at the same time: each holds a connection."""

_WAIT: Final = 3.0
"""Seconds that such a create may wait for its turn."""

_LETTERS: Final = 10
"""The longest word of a generated name."""


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key that was made, now or by an earlier request with the same idempotency key, and its event's id."""

    key: ProjectKey
    event_id: UUID | None
    replayed: bool = False


class CreateKey:
    """Issues keys.

    Creates that arrive while a transaction is under way share the next one. ``clock`` tells the time; ``committed``
    is told of every event whose transaction has committed, in the order of their rows.
    """

    def __init__(
        self,
        database: Database,
        events: EventFactory,
        idempotency: Idempotency,
        *,
        committed: Callable[[Sequence[OutboxRow]], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._events = events
        self._idempotency = idempotency
        self._committed = committed
        self._clock = clock
        self._flights = Batcher[PreparedKey, PreparedKey](
            self._commit, flights=_FLIGHTS, most=_MOST, waiting=_WAITING
        )

        self._alone = TenantSlots(slots=_ALONE, waiting=_WAITING, seconds=_WAIT)

    async def issue(
        self, asked: NewProjectKey, project: Project, origin: Origin, once: IdempotencyKey | None = None
    ) -> CreatedKey:
        """A new key of ``project``, committed with its event and its audit entry.

        Raises:
            TakenError: ``asked`` names a public or secret key that is in use.
            NotFoundError: the project is gone.
            KeyInUseError: a request with the key ``once`` is under way.
            KeyReusedError: the key ``once`` belongs to another request.
            GoneError: what the first request with the key ``once`` made is deleted.
            BusyError: too many creates are waiting, most of them of this tenant.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        issued = await self._idempotency.once(
            once, lambda: self._committed_once(asked, self.prepare(asked, project, origin, once))
        )
        if isinstance(issued, StoredResult):
            return CreatedKey(await self._again(project, issued.target_id), issued.event_id, replayed=True)
        return CreatedKey(issued.key, issued.event.id)

    async def _committed_once(self, asked: NewProjectKey, issued: PreparedKey) -> PreparedKey:
        """Together with others; alone where the key may have existed before, as it may after an uncertain try."""
        alone = asked.public_key is not None

        async def attempt() -> PreparedKey:
            nonlocal alone
            if alone:
                async with self._alone.slot(issued.project.organization.id):
                    return await self._commit_alone(issued, chosen=asked.public_key is not None)
            alone = True
            return await self._flights.submit(issued, tenant=issued.project.organization.id)

        return await retry_until_known(attempt)

    def prepare(
        self,
        asked: NewProjectKey,
        project: Project,
        origin: Origin,
        once: IdempotencyKey | None = None,
    ) -> PreparedKey:
        """All that is going to be committed, every choice made: whoever tries again tries the same."""
        key = ProjectKey(
            project_id=project.id,
            label=asked.name or petname.generate(2, " ", letters=_LETTERS).title(),
            public_key=asked.public_key or new_key_half(),
            secret_key=asked.secret_key or new_key_half(),
            is_active=True,
            rate_limit=asked.rate_limit,
            browser_sdk_version=asked.browser_sdk_version,
            loader_options=asked.loader_options,
            version=1,
            created_at=self._clock(),
        )
        event = self._events.event_of(
            EventType.CREATED, key, project, event_id=uuid4(), moment=key.created_at, origin=origin
        )
        return PreparedKey(project=project, key=key, event=event, origin=origin, idempotency_key=once)

    async def drain(self) -> None:
        """Wait until every create that was taken is committed or refused."""
        await self._flights.drain()

    async def _again(self, project: Project, row_id: int) -> ProjectKey:
        async with self._database.connection() as connection:
            key = await select_by_row_id(
                connection, organization_id=project.organization.id, project_id=project.id, row_id=row_id
            )
            if key is not None:
                return key
            parts = {"organization": str(project.organization.id), "project": str(project.id)}
            if await select_project(connection, **parts) is None:
                raise NotFoundError(f"project {project.id}")
            raise GoneError

    async def _commit(self, batch: Sequence[PreparedKey]) -> Sequence[PreparedKey | Exception]:
        async with self._database.connection() as connection:
            try:
                # One statement, so one transaction: key, event and audit entry commit together or not at all.
                rows = await insert_keys(connection, batch)
            except asyncpg.PostgresError as error:
                if len(batch) == 1 and (refusal := _refusal(error)):
                    return [refusal]
                if connection.is_closed() or len(batch) == 1:
                    raise
            else:
                self._committed([row for row in rows if row is not None])
                return [
                    issued if row is not None else await _standing(connection, issued)
                    for issued, row in zip(batch, rows, strict=True)
                ]
        return await self._commit_each(batch)

    async def _commit_each(self, batch: Sequence[PreparedKey]) -> Sequence[PreparedKey | Exception]:
        """One bad row must not fail its neighbours: each in a transaction of its own, side by side."""
        alone = await asyncio.gather(*(self._commit([issued]) for issued in batch), return_exceptions=True)
        return [_only(outcome) for outcome in alone]

    async def _commit_alone(self, issued: PreparedKey, *, chosen: bool) -> PreparedKey:
        """A key that may have existed before: deleted since, it goes on with the version after its deletion.

        Unless nobody has chosen its public half: then it is this very key that was made, and deleted since.
        """
        organization_id, public_key = issued.project.organization.id, issued.key.public_key
        async with self._database.transaction() as connection:
            deleted = await lock_deleted(connection, public_key)
            if deleted is not None and not chosen:
                return issued
            if deleted is not None and deleted.organization_id != organization_id:
                raise TakenError("public_key")
            if deleted is not None:
                issued = self._in_version(issued, deleted.version + 1)
            try:
                [row] = await insert_keys(connection, [issued])
            except asyncpg.PostgresError as error:
                raise (_refusal(error) or error) from None
            if row is None:
                return _or_raise(await _standing(connection, issued))
            if await forget_deleted(connection, public_key, organization_id=organization_id) != deleted:
                raise BusyError(f"the key {public_key} was deleted in this moment")
        self._committed([row])
        return issued

    def _in_version(self, issued: PreparedKey, version: int) -> PreparedKey:
        key = replace(issued.key, version=version)
        event = self._events.event_of(
            EventType.CREATED,
            key,
            issued.project,
            event_id=issued.event.id,
            moment=key.created_at,
            origin=issued.origin,
        )
        return replace(issued, key=key, event=event)


def _only(outcome: Sequence[PreparedKey | Exception] | BaseException) -> PreparedKey | Exception:
    if isinstance(outcome, Exception):
        return outcome
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome[0]


def _or_raise(outcome: PreparedKey | Exception) -> PreparedKey:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def _standing(connection: Connection, issued: PreparedKey) -> PreparedKey | Exception:
    """What a row that was not inserted means for its caller."""
    standing = await select_standing(connection, issued.key)
    if standing.is_same:
        return issued
    return TakenError(*standing.taken) if standing.taken else NotFoundError(f"project {issued.project.id}")


def _refusal(error: asyncpg.PostgresError) -> ProjectKeyError | None:
    """The error in the domain's words, if it is the caller's."""
    match error:
        case asyncpg.UniqueViolationError(constraint_name=constraint) if constraint == CONSTRAINT:
            return KeyInUseError("another process has just used the idempotency key")
        case asyncpg.ForeignKeyViolationError():
            return NotFoundError("the project is being deleted")
        case _:
            return None
