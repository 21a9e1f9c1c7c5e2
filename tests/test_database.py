"""The pool: whoever waits is served in turn, and nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest

from service.app import Service
from service.domain.errors import UnavailableError
from service.postgres.database import Database, Limits
from service.postgres.outbox import count_outbox, delete_published, select_unpublished
from testkit.proxy import proxy
from tests.outbox import Postgres


@asynccontextmanager
async def _opened(url: str, limits: Limits) -> AsyncIterator[Database]:
    database = Database(url, limits)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


async def test_newcomers_do_not_pass_those_who_wait(database_url: str) -> None:
    """However many come, and in whichever turn of the loop: they are served in the order of their asking."""
    served: list[int] = []
    async with _opened(database_url, Limits(pool_size=1, acquire=5.0)) as database:

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
    async with _opened(database_url, Limits(pool_size=1, acquire=0.05)) as database:
        async with database.connection():
            with pytest.raises(UnavailableError, match=r"no connection came free within 0\.05 s"):
                async with database.connection():
                    pass
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def _write(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("INSERT INTO organization (slug, name) VALUES (gen_random_uuid(), 'x')")


@pytest.mark.parametrize("connections", [1, 5])
async def test_connections_that_the_server_ended_are_replaced(
    database_url: str, postgres: Postgres, connections: int
) -> None:
    """A use that meets one fails as unavailable; by the next all is well, without a restart."""
    async with _opened(database_url, Limits()) as database:
        async with AsyncExitStack() as stack:
            for _ in range(connections):
                await stack.enter_async_context(database.connection())
        await postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        failures = 0
        for _ in range(connections + 1):
            try:
                await _write(database)
            except UnavailableError:
                failures += 1
        assert failures <= connections
        await _write(database)


async def test_connections_to_a_demoted_primary_are_given_up(database_url: str, postgres: Postgres) -> None:
    """A write on one is unavailable, and after it none of them is used again: the new ones find the new primary."""
    name = await postgres.fetchval("SELECT current_database()")
    await postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with _opened(database_url, Limits()) as database:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(database.connection())
        await postgres.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        with pytest.raises(UnavailableError, match="ReadOnlySQLTransactionError"):
            await _write(database)
        for _ in range(3):
            await _write(database)


async def test_a_statement_that_takes_too_long_is_ended_and_its_connection_used_again(
    database_url: str, postgres: Postgres
) -> None:
    """By the server, whose time is shorter than the driver's."""
    async with _opened(database_url, Limits(pool_size=1, statement=0.2)) as database:
        async with database.connection() as connection:
            before = await connection.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(UnavailableError, match="QueryCanceledError"):
            async with database.connection() as connection:
                await connection.execute("SELECT pg_sleep(5)")
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == before
    assert await postgres.fetchval("SELECT 1") == 1


async def test_a_lock_that_does_not_come_free_is_given_up(database_url: str, postgres: Postgres) -> None:
    """Whoever waits for a row that another session holds is told to come again."""
    await postgres.execute("INSERT INTO organization (slug, name) VALUES ('held', 'x')")
    async with _opened(database_url, Limits(lock=0.2)) as database:
        async with postgres.transaction():
            await postgres.execute("UPDATE organization SET name = 'y' WHERE slug = 'held'")
            with pytest.raises(UnavailableError, match="LockNotAvailableError"):
                async with database.connection() as connection:
                    await connection.execute("UPDATE organization SET name = 'z' WHERE slug = 'held'")
        await _write(database)


async def _dawdle(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO organization (slug, name) VALUES ('idle', 'x')")
        await asyncio.sleep(0.6)
        await connection.execute("SELECT 1")


async def test_a_transaction_that_idles_is_ended_by_the_server(database_url: str) -> None:
    """A process that hangs in the middle of one does not hold its locks for ever."""
    async with _opened(database_url, Limits(idle_in_transaction=0.2)) as database:
        with pytest.raises(UnavailableError):
            await _dawdle(database)
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM organization") == 0


async def test_nobody_waits_longer_to_be_connected_than_the_limit() -> None:
    """The other side takes the connection and says nothing: as for a notification's listener, so for the pool."""
    async with await asyncio.start_server(_say_nothing, "127.0.0.1", 0) as mute:
        url = f"postgresql://u@127.0.0.1:{mute.sockets[0].getsockname()[1]}/d"
        async with _opened(url, Limits(connect=0.1, acquire=5.0)) as database, asyncio.timeout(3):
            with pytest.raises(UnavailableError):
                async with database.listening({}):
                    pass
            with pytest.raises(UnavailableError):
                async with database.connection():
                    pass


async def test_who_is_to_end_ends_though_the_rollback_fails(database_url: str) -> None:
    """The other end has fallen silent: this fault must not take the place of the request to end."""
    url, writes = urlsplit(database_url), asyncio.Event()

    async def write(database: Database) -> None:
        async with database.transaction() as connection:
            writes.set()
            await connection.execute("SELECT pg_sleep(60)")

    async with (
        proxy(url.port or 0) as wire,
        _opened(
            database_url.replace(f":{url.port}/", f":{wire.port}/"), Limits(statement=0.1, acquire=0.2)
        ) as database,
        asyncio.timeout(10),
    ):
        writing = asyncio.create_task(write(database))
        await writes.wait()
        wire.block()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_no_plan_that_is_kept_reads_the_whole_outbox(service: Service, postgres: Postgres) -> None:
    """Made while it was empty, it would go on being used when there are thousands of rows."""
    await postgres.execute("VACUUM ANALYZE outbox")
    async with service.database.connection() as connection:
        for _ in range(8):  # from the sixth on the plan is kept
            await delete_published(connection, [(0, 1, 0)])
            await select_unpublished(connection, shards=[0], limit=10)
            await count_outbox(connection, most=10)
        await connection.execute("SELECT pg_stat_force_next_flush()")
    await postgres.execute("SELECT pg_stat_force_next_flush()")
    scans = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'outbox'"
    row = await postgres.fetchrow(scans)
    assert row is not None
    assert (row["seq_scan"], row["idx_scan"] > 0) == (0, True)
