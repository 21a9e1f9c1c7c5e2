"""Migrations lead from release 0.1.0 to schema.sql, and each can be repeated after a failure."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.postgres import migrate as runner
from service.postgres.migrate import migrate
from service.postgres.migration_files import Migration, known_migrations
from service.postgres.schema import SchemaError, problem_with, select_schema_state
from testkit.commits import RELEASE_0_1_0, read_file
from tests.catalog import describe_schema
from tests.outbox import Postgres

NO_TRANSACTION = "-- migrate: no transaction\n"


@pytest.fixture
async def released(empty_database_url: str) -> AsyncIterator[Postgres]:
    """A connection to a database with the schema of release 0.1.0."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(read_file(RELEASE_0_1_0, "schema.sql"))
    yield connection
    await connection.close()


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every wait of a migration for a lock."""
    monkeypatch.setattr(runner, "_SHORT", runner._SHORT.replace("'2s'", "'50ms'"))
    monkeypatch.setattr(runner, "_LONG", runner._LONG.replace("'5min'", "'50ms'"))
    monkeypatch.setattr(runner, "_PAUSE", 0.01)


@pytest.fixture
async def other(empty_database_url: str) -> AsyncIterator[Postgres]:
    """A second connection to the same database."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def test_the_migrations_lead_from_release_0_1_0_to_schema_sql(released: Postgres, postgres: Postgres) -> None:
    """Both databases have equal catalogs: tables, constraints, indexes, rights, comments and storage parameters."""
    assert await migrate(released) == [migration.name for migration in known_migrations()]
    assert await describe_schema(released) == await describe_schema(postgres)
    assert await migrate(released) == []


async def test_differences_between_two_schemas_are_detected(released: Postgres, postgres: Postgres) -> None:
    """The comparison can fail: a storage parameter, a default, an index and a comment are four differences."""
    await migrate(released)
    for statement in (
        "ALTER TABLE outbox RESET (autovacuum_vacuum_threshold)",
        "ALTER TABLE project ALTER COLUMN default_browser_sdk_version SET DEFAULT '9.x'",
        "DROP INDEX audit_entry_token",
        "COMMENT ON TABLE outbox_shard IS 'another comment'",
    ):
        before = await describe_schema(released)
        await released.execute(statement)
        assert await describe_schema(released) != before
    assert await describe_schema(released) != await describe_schema(postgres)


async def test_a_program_is_not_ready_before_its_migrations(released: Postgres) -> None:
    """A database of release 0.1.0 lacks all of them; with them the program is ready."""
    problem = problem_with(await select_schema_state(released))
    assert problem is not None
    assert problem.startswith("the schema lacks the migrations 0001_schema_migration, ")
    await migrate(released)
    assert problem_with(await select_schema_state(released)) is None


def test_migrations_are_numbered_without_gaps() -> None:
    """They run in the order of their names, and two branches cannot both add the same number."""
    numbers = [int(migration.name[:4]) for migration in known_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_statements_outside_of_a_transaction_can_be_repeated_and_take_no_exclusive_lock() -> None:
    """They may wait for minutes, and all of them run again after a failure."""
    repeatable = re.compile(
        r"(CREATE (UNIQUE )?INDEX CONCURRENTLY IF NOT|DROP INDEX CONCURRENTLY IF) EXISTS "
        r"|UPDATE |ALTER TABLE \w+ VALIDATE CONSTRAINT "
    )
    without_transaction = [migration for migration in known_migrations() if not migration.in_transaction]
    assert without_transaction
    for statement in (statement for migration in without_transaction for statement in migration.statements):
        assert repeatable.match(statement), statement


async def test_a_failing_migration_is_rolled_back_and_earlier_ones_stay_applied(released: Postgres) -> None:
    """Each file runs in a separate transaction."""
    first, *_ = known_migrations()
    failing = Migration("0002_failing", "CREATE TABLE partial (id bigint); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(released, migrations=[first, failing])
    assert (await select_schema_state(released)).applied == {first.name}
    assert await released.fetchval("SELECT to_regclass('partial')") is None
    assert await released.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


@pytest.mark.usefixtures("short_timeouts")
async def test_a_migration_is_retried_until_its_lock_is_free(released: Postgres, other: Postgres) -> None:
    """Each attempt waits briefly: requests would queue behind a migration that waits for an exclusive lock."""
    first, *_ = known_migrations()
    altering = Migration("0002_altering", "ALTER TABLE project_key ADD COLUMN IF NOT EXISTS extra text;")
    lines: list[str] = []
    transaction = other.transaction()
    await transaction.start()
    await other.execute("LOCK TABLE project_key IN ROW EXCLUSIVE MODE")
    with pytest.raises(SchemaError, match="0002_altering could not get a lock in 10 attempts: find the trans"):
        await migrate(released, migrations=[first, altering], report=lines.append)
    assert len([line for line in lines if "trying again" in line]) == 9
    await transaction.rollback()
    assert await migrate(released, migrations=[first, altering]) == ["0002_altering"]


@pytest.mark.usefixtures("short_timeouts")
async def test_an_invalid_index_is_dropped_and_rebuilt(released: Postgres, other: Postgres) -> None:
    """A failed CREATE INDEX CONCURRENTLY leaves an invalid index, and IF NOT EXISTS would keep it."""
    first, *_ = known_migrations()
    building = Migration(
        "0002_building",
        f"{NO_TRANSACTION}CREATE INDEX CONCURRENTLY IF NOT EXISTS mine\n    ON project_key (label);\n-- The end.\n",
    )
    transaction = other.transaction()
    await transaction.start()
    await other.execute("LOCK TABLE project_key IN ROW EXCLUSIVE MODE")
    with pytest.raises(SchemaError, match="0002_building could not get a lock"):
        await migrate(released, migrations=[first, building])
    await transaction.rollback()
    is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'mine'::regclass"
    assert await released.fetchval(is_valid) is False
    assert await migrate(released, migrations=[first, building]) == ["0002_building"]
    assert await released.fetchval(is_valid) is True


async def test_migrate_restores_the_settings_of_its_session(released: Postgres) -> None:
    """A pooled connection has the timeouts of the pool again after a migration."""
    names = ("lock_timeout", "statement_timeout", "client_connection_check_interval")
    before = [await released.fetchval("SELECT current_setting($1)", name) for name in names]
    await migrate(released)
    assert [await released.fetchval("SELECT current_setting($1)", name) for name in names] == before


async def test_a_greater_schema_version_makes_the_previous_release_unready(
    released: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration inserts the version; a program of that version is ready."""
    raising = Migration("0004_raising", "INSERT INTO schema_version (version) VALUES (2);")
    await migrate(released)
    assert await migrate(released, migrations=[*known_migrations(), raising]) == ["0004_raising"]
    problem = problem_with(await select_schema_state(released))
    assert problem is not None
    assert "deploy a newer release" in problem
    monkeypatch.setattr("service.postgres.schema.CURRENT", 2)
    assert problem_with(await select_schema_state(released)) is None


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("A;\n-- B;\nC 'x;y'\n  D; \n", ["A", "C 'x;y'\n  D"]),
        ("-- only a comment\n", []),
        ("A", ["A"]),
    ],
)
def test_statements_end_with_a_semicolon_at_the_end_of_a_line(text: str, statements: list[str]) -> None:
    """Comments are removed."""
    assert Migration("0001_x", NO_TRANSACTION + text).statements == statements
