"""The connection pool: waiters are served in order, and every wait is bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from service.app import Service
from service.domain.errors import UnavailableError
from service.postgres.database import Database, Limits
from service.postgres.outbox import count_outbox
from testkit.proxy import proxy
from tests.outbox import Postgres, outbox_of, write_row


@asynccontextmanager
async def _opened(url: str, limits: Limits) -> AsyncIterator[Database]:
    database = Database(lambda: url, limits)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


async def test_waiters_get_connections_in_the_order_of_their_requests(database_url: str) -> None:
    """500 tasks request the only connection in different iterations of the event loop."""
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


async def test_waiting_for_a_connection_fails_after_the_limit(database_url: str) -> None:
    """Afterwards the connection can be used again."""
    async with _opened(database_url, Limits(pool_size=1, acquire=0.5)) as database:
        async with database.connection():
            with pytest.raises(UnavailableError, match=r"no connection was free within 0\.5 s"):
                async with database.connection():
                    pass
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def _write(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("INSERT INTO organization (slug, name) VALUES (gen_random_uuid(), 'x')")


@pytest.mark.parametrize("connections", [1, 5])
async def test_connections_that_the_server_terminated_are_replaced(
    database_url: str, postgres: Postgres, connections: int
) -> None:
    """A statement on a terminated connection raises UnavailableError; later ones succeed without a restart."""
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


async def test_connections_to_a_demoted_primary_are_replaced(database_url: str, postgres: Postgres) -> None:
    """A write raises UnavailableError; then the pool replaces all connections, and new ones reach the new primary."""
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


async def test_a_statement_that_exceeds_its_timeout_is_cancelled_and_its_connection_reused(
    database_url: str, postgres: Postgres
) -> None:
    """The server cancels it: its timeout is shorter than the driver's."""
    async with _opened(database_url, Limits(pool_size=1, statement=0.2)) as database:
        async with database.connection() as connection:
            before = await connection.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(UnavailableError, match="QueryCanceledError"):
            async with database.connection() as connection:
                await connection.execute("SELECT pg_sleep(5)")
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == before
    assert await postgres.fetchval("SELECT 1") == 1


async def test_waiting_for_a_row_lock_fails_after_the_limit(database_url: str, postgres: Postgres) -> None:
    """A statement that waits for a row locked by another session raises UnavailableError."""
    await postgres.execute("INSERT INTO organization (slug, name) VALUES ('locked', 'x')")
    async with _opened(database_url, Limits(lock=0.2)) as database:
        async with postgres.transaction():
            await postgres.execute("UPDATE organization SET name = 'y' WHERE slug = 'locked'")
            with pytest.raises(UnavailableError, match="LockNotAvailableError"):
                async with database.connection() as connection:
                    await connection.execute("UPDATE organization SET name = 'z' WHERE slug = 'locked'")
        await _write(database)


async def _insert_and_idle(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO organization (slug, name) VALUES ('idle', 'x')")
        await asyncio.sleep(0.6)
        await connection.execute("SELECT 1")


async def test_an_idle_transaction_is_terminated_by_the_server(database_url: str) -> None:
    """A process that hangs in a transaction does not keep its locks."""
    async with _opened(database_url, Limits(idle_in_transaction=0.2)) as database:
        with pytest.raises(UnavailableError):
            await _insert_and_idle(database)
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM organization") == 0


async def test_connecting_fails_after_the_limit() -> None:
    """The server accepts the connection and sends nothing; the listener and the pool both raise UnavailableError."""
    async with await asyncio.start_server(_send_nothing, "127.0.0.1", 0) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.sockets[0].getsockname()[1]}/d"
        async with _opened(url, Limits(connect=0.1, acquire=5.0)) as database, asyncio.timeout(3):
            with pytest.raises(UnavailableError):
                async with database.listening({}):
                    pass
            with pytest.raises(UnavailableError):
                async with database.connection():
                    pass


async def test_cancellation_is_not_replaced_by_a_failing_rollback(database_url: str) -> None:
    """The server does not respond to ROLLBACK; the task still ends with CancelledError."""
    url, is_writing = urlsplit(database_url), asyncio.Event()

    async def write(database: Database) -> None:
        async with database.transaction() as connection:
            is_writing.set()
            await connection.execute("SELECT pg_sleep(60)")

    async with (
        proxy(url.port or 0) as postgres_proxy,
        _opened(
            database_url.replace(f":{url.port}/", f":{postgres_proxy.port}/"),
            Limits(statement=0.1, acquire=0.2),
        ) as database,
        asyncio.timeout(10),
    ):
        task = asyncio.create_task(write(database))
        await is_writing.wait()
        postgres_proxy.block()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def _send_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_cached_plans_use_the_indexes_of_the_outbox(service: Service, postgres: Postgres) -> None:
    """A sequential scan, planned while the table is empty, would still be used when it has thousands of rows."""
    await postgres.execute("VACUUM ANALYZE outbox")
    async with service.database.connection() as connection:
        for _ in range(8):  # the server caches a generic plan from the sixth execution on
            await outbox_of(connection).delete_published([(0, 1, 0)], server_started_at=datetime.now(UTC))
            await outbox_of(connection).select_unpublished({0: 10}, held=[])
            await count_outbox(connection, most=10)
        await connection.execute("SELECT pg_stat_force_next_flush()")
    await postgres.execute("SELECT pg_stat_force_next_flush()")
    scans = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'outbox'"
    row = await postgres.fetchrow(scans)
    assert row is not None
    assert (row["seq_scan"], row["idx_scan"] > 0) == (0, True)


async def test_a_read_of_the_outbox_leaves_out_the_rows_that_are_held(postgres: Postgres) -> None:
    """The limit counts the others, so that a long backlog is read while its first rows are sent."""
    rows = [await write_row(postgres, shard=shard) for shard in (0, 0, 0, 0, 1)]
    seqs = [row.seq for row in rows]
    selected, _ = await outbox_of(postgres).select_unpublished({0: 2, 1: 2}, held=[seqs[0], seqs[4]])
    assert [row.seq for row in selected] == seqs[1:3]
