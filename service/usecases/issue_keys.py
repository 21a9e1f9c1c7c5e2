"""The use case of the service: a new key, committed together with its event."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import asyncpg
import orjson
import petname

from service.domain.dsn import Ingest, endpoints
from service.domain.errors import NotFoundError, ProjectKeyError, TakenError
from service.domain.events import Event, EventType, OutboxRow, state_payload
from service.domain.model import NewProjectKey, Origin, Project, ProjectKey, new_key_half
from service.domain.partition import shard_of
from service.postgres.database import Connection, Database
from service.postgres.issued import Issued, insert_issued
from service.postgres.keys import taken_fields
from service.usecases.gathering import Gathering

_FLIGHTS: Final = 1
"""Transactions under way at a time: with two, each carries half as much and Postgres pays twice."""

_MOST: Final = 64
"""Keys in one transaction: beyond it a flight takes longer and carries no more a second."""

_WAITING: Final = 1024
"""Creates that may wait for a flight: about a quarter of a second of work; more are told to come again."""

_LETTERS: Final = 10
"""The longest word of a generated name."""


class IssueKeys:
    """Issues keys.

    Creates that arrive while a transaction is under way share the next one. ``clock`` tells the time; ``committed``
    is told of every event whose transaction has committed, in the order of their rows.
    """

    def __init__(
        self,
        database: Database,
        ingest: Ingest,
        *,
        committed: Callable[[Sequence[OutboxRow]], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._ingest = ingest
        self._committed = committed
        self._clock = clock
        self._flights = Gathering[Issued, Issued](
            self._commit, flights=_FLIGHTS, most=_MOST, waiting=_WAITING
        )

    async def issue(self, asked: NewProjectKey, project: Project, origin: Origin) -> Issued:
        """A new key of ``project``, committed with its event and its audit entry.

        Raises:
            TakenError: ``asked`` names a public or secret key that is in use.
            NotFoundError: the project is gone.
            BusyError: too many creates are waiting.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        return await self._flights.submit(self.prepare(asked, project, origin))

    def prepare(self, asked: NewProjectKey, project: Project, origin: Origin) -> Issued:
        """All that is going to be committed, every choice made."""
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
        payload = state_payload(key, project, endpoints(self._ingest, project))
        event = Event(
            id=uuid4(),
            type=EventType.CREATED,
            public_key=key.public_key,
            version=key.version,
            shard=shard_of(key.public_key),
            payload=orjson.dumps(payload).decode(),
            headers=_envelope_headers(origin),
            occurred_at=key.created_at,
        )
        return Issued(organization_id=project.organization.id, key=key, event=event, origin=origin)

    async def drain(self) -> None:
        """Wait until every create that was taken is committed or refused."""
        await self._flights.drain()

    async def _commit(self, batch: Sequence[Issued]) -> Sequence[Issued | Exception]:
        if _names_a_key_twice(batch):
            return await self._commit_each(batch)
        async with self._database.connection() as connection:
            try:
                # One statement, so one transaction: key, event and audit entry commit together or not at all.
                rows = await insert_issued(connection, batch)
            except asyncpg.PostgresError:
                if connection.is_closed() or len(batch) == 1:
                    raise
            else:
                self._committed([row for row in rows if row is not None])
                return [
                    issued if row is not None else await _refusal(connection, issued)
                    for issued, row in zip(batch, rows, strict=True)
                ]
        return await self._commit_each(batch)

    async def _commit_each(self, batch: Sequence[Issued]) -> Sequence[Issued | Exception]:
        """One bad row must not fail its neighbours: each in a transaction of its own, side by side."""
        alone = await asyncio.gather(*(self._commit([issued]) for issued in batch), return_exceptions=True)
        return [_only(outcome) for outcome in alone]


def _only(outcome: Sequence[Issued | Exception] | BaseException) -> Issued | Exception:
    if isinstance(outcome, Exception):
        return outcome
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome[0]


def _names_a_key_twice(batch: Sequence[Issued]) -> bool:
    return len({issued.key.public_key for issued in batch}) < len(batch)


async def _refusal(connection: Connection, issued: Issued) -> ProjectKeyError:
    key = issued.key
    taken = await taken_fields(connection, public_key=key.public_key, secret_key=key.secret_key)
    return TakenError(*taken) if taken else NotFoundError(f"project {key.project_id}")


def _envelope_headers(origin: Origin) -> dict[str, str]:
    headers = {"x-request-id": origin.request_id}
    if origin.traceparent is not None:
        headers["traceparent"] = origin.traceparent
    return headers
