"""The schema: is it there, is it current, make it so."""

from importlib.resources import files
from pathlib import Path
from typing import Final

import asyncpg

from service.postgres.database import Connection

CURRENT: Final = 1
"""The version that this program works with."""

_SELECT_VERSION: Final = "SELECT max(version) FROM schema_version"
_LOCK: Final = "SELECT pg_advisory_xact_lock(7346198201)"
"""One migration at a time; the number only has to be this service's own."""


_NO_RIGHTS: Final = (
    "this role may not read the tables: run `projectkeys migrate --grant-to` with its name, as their owner"
)


class SchemaError(Exception):
    """The database's schema is not one that this program can work with; the message says what to do."""


async def current_version(connection: Connection) -> int:
    """The database's version; 0 is an empty database.

    Raises:
        SchemaError: the role of this connection may not know.
    """
    try:
        return int(await connection.fetchval(_SELECT_VERSION) or 0)
    except asyncpg.UndefinedTableError:
        return 0
    except asyncpg.InsufficientPrivilegeError:
        raise SchemaError(_NO_RIGHTS) from None


def problem_with(version: int) -> str | None:
    """What is wrong with a database of this version, and what to do; None if nothing is."""
    if version == CURRENT:
        return None
    if version < CURRENT:
        return f"the schema is at version {version}, {CURRENT} is needed: run `projectkeys migrate`"
    return f"the schema is at version {version}, newer than this program's {CURRENT}: deploy a newer release"


async def migrate(connection: Connection) -> bool:
    """Make the schema current, in one transaction; returns whether there was something to do.

    Raises:
        SchemaError: the database is newer than this program.
    """
    async with connection.transaction():
        await connection.execute(_LOCK)
        exists = await connection.fetchval("SELECT to_regclass('schema_version') IS NOT NULL")
        version = await current_version(connection) if exists else 0
        if version > CURRENT:
            raise SchemaError(problem_with(version) or "")
        if version == CURRENT:
            return False
        await connection.execute(_text())
        return True


def _text() -> str:
    packaged = files("service") / "schema.sql"
    beside = Path(__file__).parents[2] / "schema.sql"  # in a checkout, where it stands at the top
    return packaged.read_text() if packaged.is_file() else beside.read_text()
