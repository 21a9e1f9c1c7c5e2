"""The pool: whoever waits is served in turn, and nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.domain.errors import UnavailableError
from service.postgres.database import Database, Limits


@asynccontextmanager
async def _pool_of_one(url: str, *, acquire: float) -> AsyncIterator[Database]:
    database = Database(url, Limits(pool_size=1, acquire=acquire))
    await database.start()
    try:
        yield database
    finally:
        await database.close()


async def test_newcomers_do_not_pass_those_who_wait(database_url: str) -> None:
    """However many come, and in whichever turn of the loop: they are served in the order of their asking."""
    served: list[int] = []
    async with _pool_of_one(database_url, acquire=5.0) as database:

        async def use(number: int) -> None:
            async with database.connection() as connection:
                served.append(number)
                await connection.execute("SELECT 1")

        async with asyncio.TaskGroup() as group:
            for number in range(500):
                group.create_task(use(number))
                await asyncio.sleep(0)
    assert served == sorted(served)


async def test_nobody_waits_longer_for_a_connection_than_the_limit(database_url: str) -> None:
    """And the connection is of use again afterwards."""
    async with _pool_of_one(database_url, acquire=0.05) as database:
        async with database.connection():
            with pytest.raises(UnavailableError, match=r"no connection came free within 0\.05 s"):
                async with database.connection():
                    pass
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
