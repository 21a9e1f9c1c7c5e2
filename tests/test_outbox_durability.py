"""Outbox rows that were deleted stay deleted when PostgreSQL is killed."""

from pathlib import Path

import asyncpg

from projectkeys_servers.postgres import EmbeddedPostgres
from service.postgres.migrate import migrate
from tests.outbox import outbox_of, waiting, write_row


async def test_a_reported_deletion_survives_a_crash_of_postgres(tmp_path: Path) -> None:
    """A row that came back would be sent again, after newer versions of its key that are deleted already."""
    server = EmbeddedPostgres(tmp_path, report=print)
    await server.start()
    try:
        connection = await asyncpg.connect(server.url)
        await migrate(connection)
        # Without this delay the WAL writer could hide a commit that did not wait for the disk.
        await connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        await connection.execute("SELECT pg_reload_conf()")
        row = await write_row(connection)
        epoch = await connection.fetchval("SELECT epoch FROM outbox_shard WHERE shard = $1", row.event.shard)
        started_at = await connection.fetchval("SELECT pg_postmaster_start_time()")
        await outbox_of(connection).delete_published(
            [(row.event.shard, row.seq, epoch)], server_started_at=started_at
        )
        assert await waiting(connection) == 0
        server.kill()
        connection.terminate()
        await server.start()
        connection = await asyncpg.connect(server.url)
        assert await waiting(connection) == 0
        await connection.close()
    finally:
        await server.stop()
