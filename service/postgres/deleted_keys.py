"""The table deleted_key: public keys of deleted keys, with the versions of their deletions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from service.postgres.database import Connection
from service.postgres.key_locks import MAX_SCANNED_ROWS


@dataclass(frozen=True, slots=True)
class DeletedKey:
    """The owner of a deleted key, and the version of its deletion."""

    organization_id: int
    version: int


_LOCK_PUBLIC_KEYS: Final = """
    SELECT pg_advisory_xact_lock(hashtextextended(public_key, 0)) FROM unnest($1::text[]) AS public_key
"""


async def lock_public_keys(connection: Connection, public_keys: Collection[str]) -> None:
    """Lock public keys of any tenant that may have no row, until the transaction ends.

    A transaction that inserts a key with a chosen public key, or a row for a key without one, takes this lock first:
    row locks cannot exclude that both happen.
    """
    await connection.execute(_LOCK_PUBLIC_KEYS, sorted(public_keys))


_LOCK: Final = "SELECT organization_id, version FROM deleted_key WHERE public_key = $1 FOR UPDATE"


async def lock_deleted_key(connection: Connection, public_key: str) -> DeletedKey | None:
    """Lock the deleted key with this public key, of any tenant; None if there is none.

    While it is locked, no replay publishes its tombstone: a tombstone must not follow the event of the new key.
    """
    row = await connection.fetchrow(_LOCK, public_key)
    return None if row is None else DeletedKey(**dict(row.items()))


_REMOVE: Final = """
    DELETE FROM deleted_key WHERE public_key = $1 AND organization_id = $2 RETURNING organization_id, version
"""


async def remove_deleted_key(connection: Connection, public_key: str, *, organization_id: int) -> DeletedKey | None:
    """Remove the row of a key that is created again; return it, or None if there is none."""
    row = await connection.fetchrow(_REMOVE, public_key, organization_id)
    return None if row is None else DeletedKey(**dict(row.items()))


@dataclass(frozen=True, slots=True)
class DeletedVersion:
    """The public key of a deleted key, and the version of its deletion."""

    public_key: str
    version: int


_SELECT_LAST_SCANNED: Final = """
    SELECT max(public_key)
    FROM (SELECT public_key FROM deleted_key WHERE public_key > $1 ORDER BY public_key LIMIT $2) AS scanned
"""

_LOCK_BETWEEN: Final = """
    SELECT public_key, version
    FROM deleted_key
    WHERE ($1::bigint IS NULL OR organization_id = $1)
      AND ($2::bigint IS NULL OR project_id = $2)
      AND public_key > $3 AND public_key <= $4
    ORDER BY public_key
    LIMIT $5
    FOR UPDATE
"""


async def lock_deleted_keys(
    connection: Connection, *, organization_id: int | None, project_id: int | None, after: str, limit: int
) -> tuple[list[DeletedVersion], str | None]:
    """Lock the next deleted keys of a project, of an organization or of all, at most ``limit``.

    Returns:
        The keys sorted by public key, of which there may be none in the scanned rows, and the last scanned public
        key: None if there are no more rows.
    """
    last = await connection.fetchval(_SELECT_LAST_SCANNED, after, MAX_SCANNED_ROWS)
    rows = await connection.fetch(_LOCK_BETWEEN, organization_id, project_id, after, last, limit)
    deleted = [DeletedVersion(**dict(row.items())) for row in rows]
    return deleted, deleted[-1].public_key if len(deleted) == limit else last


_LOCK_BY_PUBLIC_KEYS: Final = """
    SELECT public_key, version FROM deleted_key WHERE public_key = ANY($1::text[]) ORDER BY public_key FOR UPDATE
"""


async def lock_deleted_by_public_keys(connection: Connection, public_keys: Sequence[str]) -> list[DeletedVersion]:
    """Lock and return the deleted keys with these public keys, of any tenant, sorted by public key."""
    rows = await connection.fetch(_LOCK_BY_PUBLIC_KEYS, public_keys)
    return [DeletedVersion(**dict(row.items())) for row in rows]


_UPDATE_VERSIONS: Final = """
    UPDATE deleted_key
    SET version = next.version
    FROM unnest($1::text[], $2::bigint[]) AS next (public_key, version)
    WHERE deleted_key.public_key = next.public_key
"""


async def update_deleted_versions(connection: Connection, deleted: Sequence[DeletedVersion]) -> None:
    """Write the versions of locked deleted keys of any tenant."""
    await connection.execute(_UPDATE_VERSIONS, *_columns(deleted))


_INSERT: Final = """
    INSERT INTO deleted_key (public_key, organization_id, project_id, version)
    SELECT new.public_key, organization.id, new.project_id, new.version
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
         AS new (public_key, version, organization_id, project_id)
    JOIN organization ON organization.id = new.organization_id
    ON CONFLICT (public_key) DO NOTHING
"""


async def insert_deleted_keys(
    connection: Connection,
    deleted: Sequence[DeletedVersion],
    tenants: Sequence[tuple[int | None, int | None]],
) -> None:
    """Insert rows for keys that exist in the topic but not in Postgres.

    ``tenants`` are the organization ids and project ids of the keys; a key whose organization does not exist is
    left out.
    """
    organizations, projects = zip(*tenants, strict=True)
    await connection.execute(_INSERT, *_columns(deleted), organizations, projects)


def _columns(deleted: Sequence[DeletedVersion]) -> tuple[list[str], list[int]]:
    return [key.public_key for key in deleted], [key.version for key in deleted]
