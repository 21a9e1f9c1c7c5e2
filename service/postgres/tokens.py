"""The table api_token."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import asyncpg

from service.domain.errors import TakenError
from service.domain.pagination import Page
from service.domain.tokens import TokenRow
from service.postgres.database import Connection

FoundToken: TypeAlias = tuple[bytes, TokenRow, datetime | None]
"""The hash of a token or of a session, the token, and the last use of the session."""

_COLUMNS: Final = """
    token.id, token.name, token.organization_id, organization.slug AS organization_slug, token.last_four,
    token.scopes, token.created_at, token.rate_limit, token.last_used_at, token.revoked_at
"""

_ROWS: Final = f"""
    {_COLUMNS}, token.expires_at
    FROM api_token AS token
    LEFT JOIN organization ON organization.id = token.organization_id
"""

_SELECT_BY_HASHES: Final = f"""
    SELECT token.token_hash AS hash, NULL::timestamptz AS session_used_at, {_ROWS}
    WHERE token.token_hash = ANY ($1::bytea[])
    UNION ALL
    SELECT session.id_hash, session.last_used_at, {_COLUMNS}, least(token.expires_at, session.expires_at)
    FROM console_session AS session
    JOIN api_token AS token ON token.id = session.token_id
    LEFT JOIN organization ON organization.id = token.organization_id
    WHERE session.id_hash = ANY ($1::bytea[]) AND session.last_used_at > clock_timestamp() - interval '30 minutes'
"""


async def select_by_hashes(connection: Connection, hashes: Sequence[bytes]) -> list[FoundToken]:
    """Return the tokens with these SHA-256 hashes, and those of the sessions with these hashes.

    Each has the stored hash, to be compared in constant time, and the last use of the session; None for a token. The
    expiry of a session is its own if that is earlier than the token's. Idle sessions are left out.
    """
    rows = await connection.fetch(_SELECT_BY_HASHES, hashes)
    return [(row["hash"], _token_row(row), row["session_used_at"]) for row in rows]


_SELECT_ALL: Final = f"SELECT {_ROWS} ORDER BY token.id"


async def select_all(connection: Connection) -> list[TokenRow]:
    """Return every token, oldest first."""
    return [_token_row(row) for row in await connection.fetch(_SELECT_ALL)]


_OLDER: Final = f"""
    SELECT {_ROWS} WHERE token.organization_id = $1 AND token.id <= $2 ORDER BY token.id DESC OFFSET $3 LIMIT $4
"""

_NEWER: Final = f"""
    SELECT {_ROWS} WHERE token.organization_id = $1 AND token.id > $2 ORDER BY token.id OFFSET $3 LIMIT $4
"""


async def select_page(connection: Connection, organization_id: int, page: Page) -> list[TokenRow]:
    """Return the tokens of one organization that are on ``page``, newest first, and the next one if it exists."""
    statement = _NEWER if page.newer else _OLDER
    rows = await connection.fetch(statement, organization_id, page.first, page.skip, page.limit)
    return sorted(map(_token_row, rows), key=lambda row: -row.id)


_INSERT: Final = """
    INSERT INTO api_token (organization_id, name, token_hash, last_four, scopes, expires_at, rate_limit)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING id
"""


async def insert_token(
    connection: Connection,
    *,
    organization_id: int | None,
    name: str,
    token_hash: bytes,
    last_four: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    rate_limit: int | None,
) -> int:
    """Insert a token with its hash; return its id.

    Raises:
        TakenError: A token with this hash exists.
    """
    arguments = (organization_id, name, token_hash, last_four, scopes, expires_at, rate_limit)
    try:
        return int(await connection.fetchval(_INSERT, *arguments))
    except asyncpg.UniqueViolationError:
        raise TakenError("token") from None


_REVOKE: Final = """
    UPDATE api_token
    SET revoked_at = clock_timestamp()
    WHERE id = $1 AND revoked_at IS NULL
    RETURNING name, organization_id
"""


async def revoke_token(connection: Connection, token_id: int) -> tuple[str, int | None] | None:
    """Revoke a token; return its name and organization id, or None if there is none or it is revoked already."""
    row = await connection.fetchrow(_REVOKE, token_id)
    return None if row is None else (row["name"], row["organization_id"])


_NOTE_USE: Final = """
    UPDATE api_token
    SET last_used_at = clock_timestamp()
    WHERE id = ANY ($1::bigint[]) AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - $2::interval)
"""


async def note_use(connection: Connection, token_ids: Sequence[int], *, unless_within: timedelta) -> None:
    """Store the current time as the last use of tokens, unless the stored time is younger than ``unless_within``."""
    await connection.execute(_NOTE_USE, token_ids, unless_within)


def _token_row(row: asyncpg.Record) -> TokenRow:
    return TokenRow(**{member.name: row[member.name] for member in fields(TokenRow)})
