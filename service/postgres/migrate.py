"""Creates the schema of an empty database and applies migrations, one process at a time."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from service.postgres.database import Connection
from service.postgres.grants import check_role, grant_rights
from service.postgres.migration_files import Migration, current_schema, known_migrations
from service.postgres.schema import CURRENT, SchemaError, problem_with, select_schema_state
from service.postgres.session import REQUIRED_ENCODING

Report = Callable[[str], None]
"""Receives a line for each step and for each wait."""

FRESH: Final = "schema.sql"
"""The name under which the creation of the whole schema is reported."""

# Any number that no other program locks. It differs from that of release 0.1.0, whose `migrate` blocks in
# pg_advisory_lock: CREATE INDEX CONCURRENTLY waits for that statement's snapshot, and both would wait for ever.
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(7346198202)"
_UNLOCK: Final = "SELECT pg_advisory_unlock(7346198202)"
_LOCK_POLL: Final = 0.25
"""Seconds between two attempts to take the lock. A waiter that polls has no snapshot in between."""

# A process that was killed must not keep the lock until the statement that it started has finished.
_SETTINGS: Final = "SET client_connection_check_interval = '1s'"
_RESET: Final = "RESET client_connection_check_interval; RESET lock_timeout; RESET statement_timeout"

# All requests that need the table wait behind a statement that waits for an exclusive lock on it. Longer than
# deadlock_timeout (1 s), after which Postgres cancels an autovacuum that is in the way.
_SHORT: Final = "SET {local} lock_timeout = '2s'; SET {local} statement_timeout = '30s'"
# No read and no write waits behind these statements. CREATE INDEX CONCURRENTLY itself waits for all older
# transactions; the others read a whole table.
_BLOCKS_NOTHING: Final = re.compile(r"\bCONCURRENTLY\b|^UPDATE\b|^ALTER TABLE \w+ VALIDATE\b", re.IGNORECASE)
_LONG: Final = "SET lock_timeout = '5min'; SET statement_timeout = 0"
_LONGEST_STATEMENT: Final = 86_400.0
"""Seconds after which the client cancels a statement: none may run for ever."""

_ATTEMPTS: Final = 10
_PAUSE: Final = 2.0
"""The longest pause between two attempts in seconds; half of it is random, so that attempts do not coincide with
a periodic transaction."""

_RECORD: Final = "INSERT INTO schema_migration (name) SELECT unnest($1::text[])"
_CREATED_INDEX: Final = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(\w+)", re.IGNORECASE
)
_IS_INVALID: Final = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)"


def _discard(_: str) -> None:
    pass


async def migrate(
    connection: Connection,
    *,
    wait: float = 0.0,
    grant_to: str | None = None,
    report: Report = _discard,
    migrations: Sequence[Migration] | None = None,
) -> list[str]:
    """Bring the schema to that of this program, and grant a role the rights of the service role.

    Args:
        connection: A connection of the tables' owner, outside of a transaction and not through PgBouncer: the lock
            needs a session.
        wait: Seconds to wait for a migration that another process runs.
        grant_to: The service role.
        report: Receives a line for each step and for each wait.
        migrations: The migrations of this program; None means those of the package.

    Returns:
        The names of the applied migrations, or `FRESH` alone for a database that was empty.

    Raises:
        SchemaError: The database is not in UTF-8 or newer than this program, another migration runs, a lock could not
            be taken, or the role is missing or unsuitable.
    """
    known = known_migrations() if migrations is None else migrations
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != REQUIRED_ENCODING:
        raise SchemaError(
            f"the database has the encoding {encoding}, which lacks characters of names: create it with "
            f"ENCODING '{REQUIRED_ENCODING}' TEMPLATE template0"
        )
    async with _only_migration(connection, wait, report):
        if grant_to is not None:
            await check_role(connection, grant_to)
        applied = await _apply_pending(connection, known, report)
        if grant_to is not None:
            async with connection.transaction():
                await grant_rights(connection, grant_to)
    return applied


@asynccontextmanager
async def _only_migration(connection: Connection, wait: float, report: Report) -> AsyncIterator[None]:
    """Hold the session's advisory lock, without ever blocking in the server for it."""
    deadline, is_reported = time.monotonic() + wait, False
    await connection.execute(_SETTINGS)
    try:
        while not await connection.fetchval(_TRY_LOCK):
            if time.monotonic() >= deadline:
                raise SchemaError(_busy(wait))
            if not is_reported:
                report(f"Another migration is running; waiting for it for at most {round(wait, 1):g} s.")
                is_reported = True
            await asyncio.sleep(_LOCK_POLL)
        try:
            yield
        finally:
            if not connection.is_closed():  # the end of a session releases its locks
                await connection.execute(_UNLOCK)
    finally:
        if not connection.is_closed():
            await connection.execute(_RESET)


def _busy(wait: float) -> str:
    if wait > 0:
        return f"another migration is still running after {round(wait, 1):g} s: run this again later, or raise --wait"
    return "another migration is running: run this again later, or with --wait SECONDS"


async def _apply_pending(connection: Connection, known: Sequence[Migration], report: Report) -> list[str]:
    state = await select_schema_state(connection)
    if state.version > CURRENT:
        raise SchemaError(problem_with(state) or "")
    if state.version == 0:
        report("Creating the schema.")
        async with _short_transaction(connection):
            await connection.execute(current_schema(), timeout=_LONGEST_STATEMENT)
            await connection.execute(_RECORD, [migration.name for migration in known])
        return [FRESH]
    pending = [migration for migration in known if migration.name not in state.applied]
    for migration in pending:
        report(f"Applying {migration.name}.")
        await _apply(connection, migration, report)
    return [migration.name for migration in pending]


async def _apply(connection: Connection, migration: Migration, report: Report) -> None:
    """Apply a migration and record it, with further attempts if another transaction is in the way."""
    apply = _apply_in_transaction if migration.in_transaction else _apply_by_statement
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await apply(connection, migration, report)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if attempt == _ATTEMPTS:
                break
            report(f"{migration.name} waited too long for a lock (attempt {attempt} of {_ATTEMPTS}); trying again.")
            await asyncio.sleep(_PAUSE * random.uniform(0.5, 1))  # noqa: S311 -- jitter is no secret
        except asyncpg.QueryCanceledError as error:
            raise SchemaError(f"{migration.name} was cancelled and rolled back: {error}") from None
        else:
            return
    raise SchemaError(
        f"{migration.name} could not get a lock in {_ATTEMPTS} attempts: find the transaction that holds it in "
        "pg_stat_activity, end it, and run `projectkeys migrate` again"
    )


@asynccontextmanager
async def _short_transaction(connection: Connection) -> AsyncIterator[None]:
    async with connection.transaction():
        await connection.execute(_SHORT.format(local="LOCAL"))
        yield


async def _apply_in_transaction(connection: Connection, migration: Migration, _report: Report) -> None:
    async with _short_transaction(connection):
        await connection.execute(migration.text, timeout=_LONGEST_STATEMENT)
        await connection.execute(_RECORD, [migration.name])


async def _apply_by_statement(connection: Connection, migration: Migration, report: Report) -> None:
    """Run each statement alone, and report the rows that it returns; after a failure, all statements are repeated."""
    for statement in migration.statements:
        if index := _CREATED_INDEX.match(statement):
            await _drop_invalid_index(connection, index[1])
        for row in await _execute_alone(connection, statement):
            report(row[0])
    await connection.execute(_RECORD, [migration.name])


async def _drop_invalid_index(connection: Connection, name: str) -> None:
    """Drop the invalid index of a failed CREATE INDEX CONCURRENTLY, which IF NOT EXISTS would accept."""
    if await connection.fetchval(_IS_INVALID, name):
        await _execute_alone(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


async def _execute_alone(connection: Connection, statement: str) -> list[asyncpg.Record]:
    await connection.execute(_LONG if _BLOCKS_NOTHING.search(statement) else _SHORT.format(local=""))
    return await connection.fetch(statement, timeout=_LONGEST_STATEMENT)
