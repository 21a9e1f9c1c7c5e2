"""The table deleted_key: public keys that were issued and are gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.postgres.database import Connection
from service.postgres.key_locks import LOOKED_AT


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
class DeletedVersion:
    """A deleted key, as a replay tells of it."""

    public_key: str
    version: int


_LAST_LOOKED_AT: Final = """
    SELECT max(public_key)
    FROM (SELECT public_key FROM deleted_key WHERE public_key > $1 ORDER BY public_key LIMIT $2) AS looked_at
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


async def lock_gone(
    connection: Connection, *, organization_id: int | None, project_id: int | None, after: str, limit: int
) -> tuple[list[DeletedVersion], str | None]:
    """The next deleted keys of a project, an organization or all, at most ``limit``; perhaps none yet.

    Returns:
        The keys in the order of their public halves, and the one up to which all have been looked at: None if there
        are no more.
    """
    last = await connection.fetchval(_LAST_LOOKED_AT, after, LOOKED_AT)
    rows = await connection.fetch(_LOCK_BETWEEN, organization_id, project_id, after, last, limit)
    gone = [DeletedVersion(**dict(row.items())) for row in rows]
    return gone, gone[-1].public_key if len(gone) == limit else last


_LOCK_NAMED: Final = """
    SELECT public_key, version FROM deleted_key WHERE public_key = ANY($1::text[]) ORDER BY public_key FOR UPDATE
"""


async def lock_gone_named(connection: Connection, public_keys: Sequence[str]) -> list[DeletedVersion]:
    """Those of ``public_keys`` that are deleted, of whatever tenant, in their order."""
    return [DeletedVersion(**dict(row.items())) for row in await connection.fetch(_LOCK_NAMED, public_keys)]


_RAISE: Final = """
    UPDATE deleted_key
    SET version = raised.version
    FROM unnest($1::text[], $2::bigint[]) AS raised (public_key, version)
    WHERE deleted_key.public_key = raised.public_key
"""


async def raise_gone(connection: Connection, gone: Sequence[DeletedVersion]) -> None:
    """Give locked deletions, of whatever tenant, these versions."""
    await connection.execute(_RAISE, *_columns(gone))


_REMEMBER: Final = """
    INSERT INTO deleted_key (public_key, organization_id, project_id, version)
    SELECT asked.public_key, organization.id, asked.project_id, asked.version
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
         AS asked (public_key, version, organization_id, project_id)
    JOIN organization ON organization.id = asked.organization_id
    ON CONFLICT (public_key) DO NOTHING
"""


async def remember_gone(
    connection: Connection, gone: Sequence[DeletedVersion], tenants: Sequence[tuple[int | None, int | None]]
) -> None:
    """Take keys that nothing is known of for deleted.

    ``tenants`` are the ids of organization and project whose each is said to have been; nothing is written down of a
    key whose organization is not there.
    """
    organizations, projects = zip(*tenants, strict=True)
    await connection.execute(_REMEMBER, *_columns(gone), organizations, projects)


def _columns(gone: Sequence[DeletedVersion]) -> tuple[list[str], list[int]]:
    return [one.public_key for one in gone], [one.version for one in gone]
