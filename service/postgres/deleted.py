"""The table deleted_key: public keys that were issued and are gone."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.postgres.database import Connection


@dataclass(frozen=True, slots=True)
class DeletedKey:
    """Whose it was, and the version of its deletion."""

    organization_id: int
    version: int


_LOCK: Final = "SELECT organization_id, version FROM deleted_key WHERE public_key = $1 FOR UPDATE"


async def lock_deleted(connection: Connection, public_key: str) -> DeletedKey | None:
    """What is known of a deleted key, whosever it was: None if there was none with this public half.

    Nobody tells of its deletion again until this ends: a tombstone must not come after the key's return.
    """
    row = await connection.fetchrow(_LOCK, public_key)
    return None if row is None else DeletedKey(**dict(row.items()))


_FORGET: Final = """
    DELETE FROM deleted_key WHERE public_key = $1 AND organization_id = $2 RETURNING organization_id, version
"""


async def forget_deleted(
    connection: Connection, public_key: str, *, organization_id: int
) -> DeletedKey | None:
    """Forget an organization's deleted key, which is issued again; returns what was known of it."""
    row = await connection.fetchrow(_FORGET, public_key, organization_id)
    return None if row is None else DeletedKey(**dict(row.items()))


@dataclass(frozen=True, slots=True)
class GoneKey:
    """A deleted key, as a replay tells of it."""

    public_key: str
    version: int
    deleted_at: datetime


_LOCK_MANY: Final = """
    SELECT public_key, version, deleted_at
    FROM deleted_key
    WHERE ($1::bigint IS NULL OR organization_id = $1)
      AND ($2::bigint IS NULL OR project_id = $2)
      AND public_key > $3
    ORDER BY public_key
    LIMIT $4
    FOR UPDATE
"""


async def lock_gone(
    connection: Connection, *, organization_id: int | None, project_id: int | None, after: str, limit: int
) -> list[GoneKey]:
    """The next deleted keys of a project, an organization or all, by their public halves, at most ``limit``."""
    rows = await connection.fetch(_LOCK_MANY, organization_id, project_id, after, limit)
    return [GoneKey(**dict(row.items())) for row in rows]
