"""Databases of the embedded server, for baselines and peers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from projectkeys_servers.postgres import EmbeddedPostgres


async def create_database(postgres: EmbeddedPostgres, name: str, schema: str = "") -> str:
    """Create a database; return its URL.

    Args:
        postgres: The server.
        name: The name of the new database.
        schema: SQL commands to execute in it.
    """
    url = postgres.url.rpartition("/")[0] + f"/{name}"
    async with connected(postgres.url) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
    if schema:
        async with connected(url) as connection:
            await connection.execute(schema)
    return url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect to a database during the block."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
