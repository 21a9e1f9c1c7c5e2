"""Row locks of the table project_key: a locked key cannot change before the transaction ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from service.domain.model import Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.keys import KEY_COLUMNS, key_from_row
from service.postgres.projects import PROJECT_COLUMNS, project_from_row

MAX_SCANNED_ROWS: Final = 20_000
"""The number of rows that one batch scans at most: of many rows, few or none may match."""


@dataclass(frozen=True, slots=True)
class LockedKey:
    """A key whose row is locked, the id of the row, and the project of the key."""

    id: int
    key: ProjectKey
    project: Project


# Two statements: after waiting for a lock, a single statement would return the current key, but the organization of
# its snapshot from before the wait, and so perhaps a DSN that has been replaced since.
# `+ 0` excludes the index of the project.
_LOCK_KEY: Final = """
    SELECT key.id
    FROM project_key AS key
    JOIN project ON project.id = key.project_id + 0
    WHERE project.organization_id = $1 AND project.id = $2 AND key.public_key = $3 AND project.deleted_at IS NULL
    FOR UPDATE OF key
"""

_SELECT_LOCKED: Final = f"""
    SELECT {KEY_COLUMNS}, key.id AS key_id, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE ($1::bigint IS NULL OR organization.id = $1) AND key.id = ANY($2::bigint[])
    ORDER BY key.id
"""


async def lock_key(connection: Connection, project: Project, public_key: str) -> LockedKey | None:
    """Lock a key of ``project``; return it with the current project, or None if there is none."""
    rows = await connection.fetch(_LOCK_KEY, project.organization.id, project.id, public_key)
    locked = await _read_locked(connection, project.organization.id, rows)
    return locked[0] if locked else None


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys that a job has not processed yet; None means all organizations, all projects, all times."""

    organization_id: int | None
    project_id: int | None
    made_since: datetime | None = None
    after_id: int = 0


_LOCK_OF_PROJECT: Final = """
    SELECT key.id
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    WHERE project.organization_id = $1 AND key.project_id = $2 AND key.id > $3
    ORDER BY key.id
    LIMIT $4
    FOR UPDATE OF key
"""

_SELECT_LAST_SCANNED: Final = """
    SELECT max(id) FROM (SELECT id FROM project_key WHERE id > $1 ORDER BY id LIMIT $2) AS scanned
"""

_LOCK_BETWEEN: Final = """
    SELECT key.id
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    WHERE ($1::bigint IS NULL OR project.organization_id = $1)
      AND ($2::timestamptz IS NULL OR key.created_at >= $2)
      AND key.id > $3 AND key.id <= $4
    ORDER BY key.id
    LIMIT $5
    FOR UPDATE OF key
"""


async def lock_keys(connection: Connection, keys: KeyRange, *, limit: int) -> tuple[list[LockedKey], int | None]:
    """Lock the next keys of a range in the order of their row ids, at most ``limit``.

    Returns:
        The keys, of which there may be none in the scanned rows, and the id of the last scanned row: None if the
        range has no more rows.
    """
    organization_id, after = keys.organization_id, keys.after_id
    if keys.project_id is not None:
        rows = await connection.fetch(_LOCK_OF_PROJECT, organization_id, keys.project_id, after, limit)
        last = rows[-1]["id"] if rows else None
    else:
        last = await connection.fetchval(_SELECT_LAST_SCANNED, after, MAX_SCANNED_ROWS)
        rows = await connection.fetch(_LOCK_BETWEEN, organization_id, keys.made_since, after, last, limit)
        last = rows[-1]["id"] if len(rows) == limit else last
    return await _read_locked(connection, organization_id, rows), last


# By an expression: in the order of the ids, Postgres would read all keys.
_LOCK_BY_PUBLIC_KEYS: Final = """
    SELECT id FROM project_key WHERE public_key = ANY($1::text[]) ORDER BY id + 0 FOR UPDATE
"""


async def lock_keys_by_public_keys(connection: Connection, public_keys: Sequence[str]) -> list[LockedKey]:
    """Lock and return the existing keys with these public keys, of any tenant, in the order of their row ids."""
    rows = await connection.fetch(_LOCK_BY_PUBLIC_KEYS, public_keys)
    return await _read_locked(connection, None, rows)


async def _read_locked(
    connection: Connection, organization_id: int | None, rows: Sequence[asyncpg.Record]
) -> list[LockedKey]:
    if not rows:
        return []
    found = await connection.fetch(_SELECT_LOCKED, organization_id, [row["id"] for row in rows])
    return [_locked(row) for row in found]


def _locked(row: asyncpg.Record) -> LockedKey:
    return LockedKey(id=row["key_id"], key=key_from_row(row), project=project_from_row(row))
