"""Reads all keys, deleted keys and outbox rows of every tenant, page by page, for the comparison with the topic."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from service.domain.model import Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.deleted_keys import DeletedVersion
from service.postgres.keys import KEY_COLUMNS, key_from_row
from service.postgres.projects import PROJECT_COLUMNS, project_from_row

PAGE: Final = 5_000
"""Rows per page; a constant in the statements, so that Postgres plans them for this number."""

_USE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


async def use_snapshot(connection: Connection) -> None:
    """Make all statements of the transaction use one snapshot; must be the first statement of the transaction."""
    await connection.execute(_USE_SNAPSHOT)


_SELECT_KEYS: Final = f"""
    SELECT {KEY_COLUMNS}, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE key.public_key > $1
    ORDER BY key.public_key
    LIMIT {PAGE}
"""


async def all_keys(connection: Connection) -> AsyncIterator[list[tuple[ProjectKey, Project]]]:
    """Return every key, page by page, sorted by public key."""
    after = ""
    while rows := await connection.fetch(_SELECT_KEYS, after):
        yield [(key_from_row(row), project_from_row(row)) for row in rows]
        after = rows[-1]["public_key"]


_SELECT_DELETED_KEYS: Final = f"""
    SELECT public_key, version FROM deleted_key WHERE public_key > $1 ORDER BY public_key LIMIT {PAGE}
"""


async def all_deleted_keys(connection: Connection) -> AsyncIterator[list[DeletedVersion]]:
    """Return every deleted key, page by page, sorted by public key."""
    after = ""
    while rows := await connection.fetch(_SELECT_DELETED_KEYS, after):
        yield [DeletedVersion(**dict(row.items())) for row in rows]
        after = rows[-1]["public_key"]


_SELECT_OUTBOX_ROWS: Final = f"""
    SELECT shard, seq, aggregateid AS public_key, parked_at IS NOT NULL AS parked
    FROM outbox
    WHERE (shard, seq) > ($1::smallint, $2::bigint)
    ORDER BY shard, seq
    LIMIT {PAGE}
"""


async def all_outbox_rows(connection: Connection) -> AsyncIterator[list[tuple[str, bool]]]:
    """Return every row of the outbox, page by page: its public key, and whether it is parked."""
    shard, seq = -1, 0
    while rows := await connection.fetch(_SELECT_OUTBOX_ROWS, shard, seq):
        yield [(row["public_key"], row["parked"]) for row in rows]
        shard, seq = rows[-1]["shard"], rows[-1]["seq"]


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """The current status of a public key.

    Attributes:
        version: The version of the key or of its deletion; 0 if Postgres has neither.
        exists: Whether the key exists and is not deleted.
        is_pending: Whether the outbox has events of the key.
    """

    version: int
    exists: bool
    is_pending: bool


_SELECT_KEY_STATUSES: Final = """
    SELECT wanted.public_key, coalesce(key.version, deleted.version, 0) AS version, key.id IS NOT NULL AS exists,
           wanted.public_key IN (SELECT aggregateid FROM outbox WHERE aggregateid = ANY($1::text[])) AS is_pending
    FROM unnest($1::text[]) AS wanted (public_key)
    LEFT JOIN project_key AS key ON key.public_key = wanted.public_key
    LEFT JOIN deleted_key AS deleted ON deleted.public_key = wanted.public_key
"""


async def select_key_statuses(connection: Connection, public_keys: Sequence[str]) -> dict[str, KeyStatus]:
    """Return the current status of each of ``public_keys``."""
    rows = await connection.fetch(_SELECT_KEY_STATUSES, public_keys)
    return {row["public_key"]: KeyStatus(row["version"], row["exists"], row["is_pending"]) for row in rows}
