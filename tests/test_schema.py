"""An empty database gets the schema, and a program detects a database that it cannot use."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.postgres.migrate import FRESH, migrate
from service.postgres.migration_files import known_migrations
from service.postgres.schema import CURRENT, SchemaError, SchemaState, problem_with, select_schema_state

KNOWN = frozenset(migration.name for migration in known_migrations())


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to a database without the schema."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def test_migrate_creates_the_schema_in_an_empty_database(
    empty: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """A second run changes nothing and keeps the rows."""
    assert await select_schema_state(empty) == SchemaState()
    assert await migrate(empty) == [FRESH]
    assert await select_schema_state(empty) == SchemaState(CURRENT, KNOWN)
    await empty.execute("INSERT INTO organization (slug, name) VALUES ('acme', 'Acme')")
    assert await migrate(empty) == []
    assert await empty.fetchval("SELECT slug FROM organization") == "acme"


async def test_of_three_concurrent_migrations_one_creates_the_schema(empty_database_url: str) -> None:
    """The other two wait for it and apply nothing."""
    connections = [await asyncpg.connect(empty_database_url) for _ in range(3)]
    try:
        applied = await asyncio.gather(*(migrate(connection, wait=10) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(applied) == [[], [], [FRESH]]


async def test_migrate_does_not_change_a_database_of_a_greater_version(
    empty: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """The previous release cannot run on it; the error says what to do."""
    await migrate(empty)
    await empty.execute("INSERT INTO schema_version (version) VALUES ($1)", CURRENT + 1)
    with pytest.raises(SchemaError, match="deploy a newer release"):
        await migrate(empty)
    assert (await select_schema_state(empty)).version == CURRENT + 1


async def test_migrations_of_a_later_release_are_accepted(
    empty: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """After a rollback the previous release is ready, and its `migrate` succeeds, while the version is the same."""
    await migrate(empty)
    await empty.execute("INSERT INTO schema_migration (name) VALUES ('9999_of_a_later_release')")
    assert problem_with(await select_schema_state(empty)) is None
    assert await migrate(empty) == []


async def test_a_failed_creation_of_the_schema_is_rolled_back(
    empty: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """The next run starts from an empty database."""
    await empty.execute("CREATE TABLE api_token (id bigint)")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty)
    await empty.execute("DROP TABLE api_token")
    assert await select_schema_state(empty) == SchemaState()
    assert await migrate(empty) == [FRESH]


def test_a_problem_names_the_cause_and_the_remedy() -> None:
    """There is none for the current schema; for another version the text names the command or release to use."""
    assert problem_with(SchemaState(CURRENT, KNOWN)) is None
    older, newer = (problem_with(SchemaState(version, KNOWN)) for version in (CURRENT - 1, CURRENT + 1))
    assert older is not None
    assert f"version {CURRENT - 1}, {CURRENT} is needed: run `projectkeys migrate`" in older
    assert newer is not None
    assert f"version {CURRENT + 1}, newer than this program's {CURRENT}" in newer


def test_a_missing_migration_is_named_as_the_problem() -> None:
    """A program that runs before its migrations is not ready."""
    problem = problem_with(SchemaState(CURRENT, KNOWN - {"0002_audit_entry_indexes"}))
    assert problem == "the schema lacks the migrations 0002_audit_entry_indexes: run `projectkeys migrate`"
