"""Waiting for Kafka: told in the process, seen in the table, or given up."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.app import open_database
from service.domain.partitioning import shard_of
from service.postgres.database import Database
from service.settings import Settings
from service.usecases.acknowledgements import Acknowledgements
from tests.outbox import Postgres, new_row, write_row

_KEY = "a" * 32
_LONG = 20.0


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Where the outbox is."""
    opened = open_database(settings)
    await opened.start()
    yield opened
    await opened.close()


@asynccontextmanager
async def _at_once() -> AsyncIterator[None]:
    """Fails if the block takes as long as waiting would."""
    began = time.monotonic()
    async with asyncio.timeout(_LONG / 2):
        yield
    assert time.monotonic() - began < _LONG / 2


async def test_an_event_that_this_process_publishes_is_heard_of(
    database: Database, postgres: Postgres
) -> None:
    """Though its row still stands in the table: that is deleted a moment later."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    other = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once(), asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(acknowledgements.wait(row.event.id, _KEY, seconds=_LONG)) for _ in range(2)
        ]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        acknowledgements.published([other])
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        acknowledgements.published([row])
    assert [task.result() for task in waiting] == [True, True]


async def test_an_event_that_was_published_before_anybody_waited_is_known(database: Database) -> None:
    """Kafka can be quicker than the answer."""
    acknowledgements = Acknowledgements(database)
    row = new_row()
    acknowledgements.published([row])
    async with _at_once():
        assert await acknowledgements.wait(row.event.id, row.event.public_key, seconds=_LONG)


async def test_an_event_that_another_process_publishes_is_seen_in_the_table(
    database: Database, postgres: Postgres
) -> None:
    """While its row is there it waits, once that is deleted it is published."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once():
        waiting = asyncio.create_task(acknowledgements.wait(row.event.id, _KEY, seconds=_LONG))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await postgres.execute("DELETE FROM outbox WHERE id = $1", row.event.id)
        assert await waiting is True


async def test_when_the_time_is_over_the_event_is_pending(database: Database, postgres: Postgres) -> None:
    """Also where there was no time at all."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once():
        assert not await acknowledgements.wait(row.event.id, _KEY, seconds=0.2)
        assert not await acknowledgements.wait(row.event.id, _KEY, seconds=0)


async def test_who_ends_waits_no_longer(database: Database, postgres: Postgres) -> None:
    """A process that drains answers what it knows."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once():
        waiting = asyncio.create_task(acknowledgements.wait(row.event.id, _KEY, seconds=_LONG))
        await asyncio.sleep(0.1)
        acknowledgements.give_up()
        assert await waiting is False


async def test_a_database_that_is_away_is_no_acknowledgement(database: Database) -> None:
    """Nobody knows, so it is pending."""
    acknowledgements = Acknowledgements(database)
    row = new_row(key=_KEY)
    await database.close()
    async with _at_once():
        assert not await acknowledgements.wait(row.event.id, _KEY, seconds=0.3)
