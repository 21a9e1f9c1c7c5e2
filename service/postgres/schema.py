"""The tables schema_version and schema_migration: whether this program can work with the database's schema."""

from dataclasses import dataclass
from typing import Final

import asyncpg

from service.domain.errors import CommandError
from service.postgres.database import Connection
from service.postgres.migration_files import known_migrations

CURRENT: Final = 1
"""The version of the schema that this program works with.

A migration adds a row to schema_version only if the previous release cannot run on the schema that it leaves. The
version therefore stays the same for additive changes, and a rollback to the previous release needs no step.
"""

_SELECT_STATE: Final = """
    SELECT max(version) AS version, ARRAY(SELECT name FROM schema_migration) AS applied
    FROM schema_version
"""
_SELECT_VERSION: Final = "SELECT max(version) FROM schema_version"

_NO_RIGHTS: Final = (
    "this role may not read the tables: run `projectkeys migrate --grant-to` with its name, as their owner"
)


class SchemaError(CommandError):
    """This program cannot work with the schema of the database; the message says what to do."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The schema of a database: its version, 0 without a schema, and the names of the applied migrations."""

    version: int = 0
    applied: frozenset[str] = frozenset()


async def select_schema_state(connection: Connection) -> SchemaState:
    """Return the state of the database's schema; outside of a transaction, which a missing table would abort.

    Raises:
        SchemaError: The role of this connection may not read it.
    """
    try:
        row = await connection.fetchrow(_SELECT_STATE)
        assert row is not None, "an aggregate returns a row"
        return SchemaState(row["version"] or 0, frozenset(row["applied"]))
    except asyncpg.UndefinedTableError:
        return SchemaState(await _version_without_migrations(connection))
    except asyncpg.InsufficientPrivilegeError:
        raise SchemaError(_NO_RIGHTS) from None


async def _version_without_migrations(connection: Connection) -> int:
    """Return the version of a database without the table schema_migration, as release 0.1.0 creates it."""
    try:
        return int(await connection.fetchval(_SELECT_VERSION) or 0)
    except asyncpg.UndefinedTableError:
        return 0
    except asyncpg.InsufficientPrivilegeError:
        raise SchemaError(_NO_RIGHTS) from None


def problem_with(state: SchemaState) -> str | None:
    """Return what is wrong with a database in this state and what to do, or None if this program can use it.

    Migrations that this program does not know are no problem: they are of a later release, and additive if they leave
    the version unchanged.
    """
    version = state.version
    if version > CURRENT:
        return f"the schema is at version {version}, newer than this program's {CURRENT}: deploy a newer release"
    if version < CURRENT:
        return f"the schema is at version {version}, {CURRENT} is needed: run `projectkeys migrate`"
    missing = [known.name for known in known_migrations() if known.name not in state.applied]
    if missing:
        return f"the schema lacks the migrations {', '.join(missing)}: run `projectkeys migrate`"
    return None
