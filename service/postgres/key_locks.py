"""Keys under the locks of their rows: nobody else can change them before the transaction ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from service.domain.model import Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.keys import KEY_COLUMNS, key_from_row
from service.postgres.projects import PROJECT_COLUMNS, project_from_row

LOOKED_AT: Final = 20_000
"""Rows that one batch looks at, at most: of all keys perhaps only the last is what it is looking for."""


@dataclass(frozen=True, slots=True)
class LockedKey:
    """A key that nobody else can change before this transaction ends, and its row's id."""

    id: int
    key: ProjectKey
    project: Project


# Locked first and read then, by a statement of its own: one that waited for a lock has the key as it is now, but the
# organization as it was when the waiting began, and with it a DSN that others have replaced meanwhile.
_LOCK_ONE: Final = """
    SELECT key.id
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
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
"""  # noqa: S608 -- the columns are constants


async def lock_key(connection: Connection, project: Project, public_key: str) -> LockedKey | None:
    """A key of ``project``, with the project as it is now; None if there is none."""
    rows = await connection.fetch(_LOCK_ONE, project.organization.id, project.id, public_key)
    locked = await _read_locked(connection, project.organization.id, rows)
    return locked[0] if locked else None


@dataclass(frozen=True, slots=True)
class Batch:
    """Which keys a batch is taken from; None is all organizations, all projects."""

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

_LAST_LOOKED_AT: Final = """
    SELECT max(id) FROM (SELECT id FROM project_key WHERE id > $1 ORDER BY id LIMIT $2) AS looked_at
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


async def lock_keys(
    connection: Connection, batch: Batch, *, limit: int
) -> tuple[list[LockedKey], int | None]:
    """The next keys of a batch in the order of their row ids, at most ``limit``; perhaps none yet.

    Returns:
        The keys, and the row id up to which all have been looked at: None if there are no more.
    """
    organization_id, after = batch.organization_id, batch.after_id
    if batch.project_id is not None:
        rows = await connection.fetch(_LOCK_OF_PROJECT, organization_id, batch.project_id, after, limit)
        last = rows[-1]["id"] if rows else None
    else:
        last = await connection.fetchval(_LAST_LOOKED_AT, after, LOOKED_AT)
        rows = await connection.fetch(_LOCK_BETWEEN, organization_id, batch.made_since, after, last, limit)
        last = rows[-1]["id"] if len(rows) == limit else last
    return await _read_locked(connection, organization_id, rows), last


_LOCK_NAMED: Final = """
    SELECT id FROM project_key WHERE public_key = ANY($1::text[]) ORDER BY id FOR UPDATE
"""


async def lock_named(connection: Connection, public_keys: Sequence[str]) -> list[LockedKey]:
    """Those of ``public_keys`` that exist, of whatever tenant, in the order of their row ids."""
    return await _read_locked(connection, None, await connection.fetch(_LOCK_NAMED, public_keys))


async def _read_locked(
    connection: Connection, organization_id: int | None, rows: Sequence[asyncpg.Record]
) -> list[LockedKey]:
    if not rows:
        return []
    found = await connection.fetch(_SELECT_LOCKED, organization_id, [row["id"] for row in rows])
    return [_locked(row) for row in found]


def _locked(row: asyncpg.Record) -> LockedKey:
    return LockedKey(id=row["key_id"], key=key_from_row(row), project=project_from_row(row))
