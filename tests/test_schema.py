"""The schema: made once, by one, never backwards."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.postgres.schema import CURRENT, SchemaError, current_version, migrate, problem_with


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to a database without the schema."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def test_an_empty_database_becomes_current_once(
    empty: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """The second time there is nothing to do, and what is there stays."""
    assert await current_version(empty) == 0
    assert await migrate(empty) is True
    assert await current_version(empty) == CURRENT
    await empty.execute("INSERT INTO organization (slug, name) VALUES ('acme', 'Acme')")
    assert await migrate(empty) is False
    assert await empty.fetchval("SELECT slug FROM organization") == "acme"


async def test_two_migrations_at_once_are_one(empty_database_url: str) -> None:
    """Replicas that start together: one does it, the others wait and find it done."""
    connections = [await asyncpg.connect(empty_database_url) for _ in range(3)]
    try:
        done = await asyncio.gather(*(migrate(connection) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(done) == [False, False, True]


async def test_a_newer_database_is_left_alone(empty: "asyncpg.Connection[asyncpg.Record]") -> None:
    """An old release that is still about does no harm and says what to do."""
    await migrate(empty)
    await empty.execute("INSERT INTO schema_version (version) VALUES ($1)", CURRENT + 1)
    with pytest.raises(SchemaError, match="deploy a newer release"):
        await migrate(empty)
    assert await current_version(empty) == CURRENT + 1


async def test_a_migration_that_fails_leaves_nothing_behind(
    empty: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """It is one transaction: the next try begins anew."""
    await empty.execute("CREATE TABLE api_token (id bigint)")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty)
    await empty.execute("DROP TABLE api_token")
    assert await current_version(empty) == 0
    assert await migrate(empty) is True


def test_a_problem_is_a_sentence_with_what_to_do() -> None:
    """None for the current version, else which version there is and which command or release mends it."""
    assert problem_with(CURRENT) is None
    older, newer = problem_with(CURRENT - 1), problem_with(CURRENT + 1)
    assert older is not None
    assert f"version {CURRENT - 1}, {CURRENT} is needed: run `projectkeys migrate`" in older
    assert newer is not None
    assert f"version {CURRENT + 1}, newer than this program's {CURRENT}" in newer
