"""Waiting for Kafka: reported by this process, found in the table, or ended by the timeout."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.app import open_database
from service.domain.events import shard_of
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
    """Fail if the block takes as long as the timeout of the wait."""
    began = time.monotonic()
    async with asyncio.timeout(_LONG / 2):
        yield
    assert time.monotonic() - began < _LONG / 2


async def test_an_event_that_this_process_publishes_is_reported_to_the_wait(
    database: Database, postgres: Postgres
) -> None:
    """Before its row is deleted from the table."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    other = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once(), asyncio.TaskGroup() as group:
        waiting = [group.create_task(acknowledgements.wait(row.event.id, _KEY, seconds=_LONG)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        acknowledgements.record_published([other])
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        acknowledgements.record_published([row])
    assert [task.result() for task in waiting] == [True, True]


async def test_a_wait_after_the_acknowledgement_ends_at_once(database: Database) -> None:
    """Kafka may acknowledge before the handler waits."""
    acknowledgements = Acknowledgements(database)
    row = new_row()
    acknowledgements.record_published([row])
    async with _at_once():
        assert await acknowledgements.wait(row.event.id, row.event.public_key, seconds=_LONG)


async def test_an_event_that_another_process_publishes_is_found_in_the_table(
    database: Database, postgres: Postgres
) -> None:
    """The wait ends when its row is deleted."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once():
        waiting = asyncio.create_task(acknowledgements.wait(row.event.id, _KEY, seconds=_LONG))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await postgres.execute("DELETE FROM outbox WHERE id = $1", row.event.id)
        assert await waiting is True


async def test_after_the_timeout_the_event_is_pending(database: Database, postgres: Postgres) -> None:
    """Also with a timeout of zero."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once():
        assert not await acknowledgements.wait(row.event.id, _KEY, seconds=0.2)
        assert not await acknowledgements.wait(row.event.id, _KEY, seconds=0)


async def test_shutdown_ends_every_wait(database: Database, postgres: Postgres) -> None:
    """A process that drains responds without the acknowledgement."""
    acknowledgements = Acknowledgements(database)
    row = await write_row(postgres, key=_KEY, shard=shard_of(_KEY))
    async with _at_once():
        waiting = asyncio.create_task(acknowledgements.wait(row.event.id, _KEY, seconds=_LONG))
        await asyncio.sleep(0.1)
        acknowledgements.stop()
        assert await waiting is False


async def test_an_unavailable_database_is_no_acknowledgement(database: Database) -> None:
    """The event is pending until the timeout."""
    acknowledgements = Acknowledgements(database)
    row = new_row(key=_KEY)
    await database.close()
    async with _at_once():
        assert not await acknowledgements.wait(row.event.id, _KEY, seconds=0.3)
