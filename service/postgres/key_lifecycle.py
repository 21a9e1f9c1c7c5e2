"""The life of keys in the table project_key: expiry by the clock of the database, successors, keys by name."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from service.domain.model import Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.keys import KEY_COLUMNS, key_from_row
from service.postgres.projects import COLUMNS_OF_PROJECT, PROJECT_COLUMNS, project_from_row

_SELECT_TIME: Final = "SELECT clock_timestamp()"

# OFFSET 0 forces a lookup by the id: without statistics, Postgres may read all projects instead.
_SELECT_EXPIRED: Final = f"""
    SELECT {KEY_COLUMNS}, {PROJECT_COLUMNS}
    FROM project_key AS key
    CROSS JOIN LATERAL (
        SELECT {COLUMNS_OF_PROJECT}
        FROM project
        WHERE id = key.project_id AND deleted_at IS NULL
        OFFSET 0
    ) AS project
    JOIN organization ON organization.id = project.organization_id
    WHERE key.is_active AND key.expires_at <= $1
    ORDER BY key.expires_at
    LIMIT $2
"""


async def select_expired(
    connection: Connection, *, limit: int
) -> tuple[datetime, Sequence[tuple[ProjectKey, Project]]]:
    """Return the time, and the active keys of any tenant that have expired by then, at most ``limit``."""
    now: datetime = await connection.fetchval(_SELECT_TIME)
    rows = await connection.fetch(_SELECT_EXPIRED, now, limit)
    return now, [(key_from_row(row), project_from_row(row)) for row in rows]


_COUNT_EXPIRING: Final = """
    SELECT count(*)
    FROM (
        SELECT
        FROM project_key
        WHERE is_active AND expires_at < statement_timestamp() + $1::interval AND rotated_to IS NULL
        LIMIT $2
    ) AS expiring
"""


async def count_expiring(connection: Connection, *, within: timedelta, most: int) -> int:
    """Count the active keys without a successor that expire ``within`` this time, up to ``most``."""
    return int(await connection.fetchval(_COUNT_EXPIRING, within, most))


_SELECT_SUCCESSOR: Final = """
    SELECT clock_timestamp(), (
        SELECT successor.public_key
        FROM project_key AS key
        JOIN project ON project.id = key.project_id + 0
        CROSS JOIN LATERAL (
            SELECT public_key FROM project_key WHERE public_key = key.rotated_to OFFSET 0
        ) AS successor
        WHERE key.public_key = $2 AND project.organization_id = $1
    )
"""


async def select_successor(connection: Connection, key: ProjectKey, project: Project) -> tuple[datetime, str | None]:
    """Return the time, and the public key of the successor that a rotation created; None if it is deleted."""
    row = await connection.fetchrow(_SELECT_SUCCESSOR, project.organization.id, key.public_key)
    assert row is not None, "the statement returns one row"
    return row[0], row[1]


_LOCK_NAME: Final = "SELECT pg_advisory_xact_lock(hashtextextended($2, $1))"


async def lock_name(connection: Connection, project: Project, name: str) -> None:
    """Lock the name of a key in a project until the transaction ends; another name with the same hash waits, too.

    An advisory lock: names are not unique, so no constraint excludes a second key, and there may be no row to lock.
    """
    await connection.execute(_LOCK_NAME, project.id, name)


def _by_name(condition: str) -> str:
    """Return a statement for the first key of a name that has not expired, in the order of the index."""
    return f"""
        SELECT {KEY_COLUMNS}
        FROM project_key AS key
        JOIN project ON project.id = key.project_id
        WHERE key.label = $3 AND key.project_id = $2 AND project.organization_id = $1 AND key.is_active = $4
          AND {condition} AND project.deleted_at IS NULL
        ORDER BY key.expires_at DESC, key.id
        LIMIT 1
    """


# Two statements: with OR, Postgres would read the expired keys too.
_NEVER_EXPIRING: Final = _by_name("key.expires_at IS NULL AND $5::timestamptz IS NOT NULL")
_EXPIRING_LAST: Final = _by_name("key.expires_at > $5")


async def select_by_name(
    connection: Connection, project: Project, name: str, *, active: bool, now: datetime
) -> ProjectKey | None:
    """Return, of the keys of this name that have not expired, the one that expires last, then the oldest.

    ``active`` selects the active keys, or those that were disabled by a request; a key without an expiry is the last.
    """
    for statement in (_NEVER_EXPIRING, _EXPIRING_LAST):
        row = await connection.fetchrow(statement, project.organization.id, project.id, name, active, now)
        if row is not None:
            return key_from_row(row)
    return None
