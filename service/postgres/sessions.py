"""The table console_session; `tokens.select_by_hashes` finds a session together with its token."""

from typing import Final

from service.domain.tokens import MAX_SESSIONS
from service.postgres.database import Connection, row_count

_LOCK: Final = """
    SELECT name, organization_id FROM api_token WHERE id = $1 AND revoked_at IS NULL FOR NO KEY UPDATE
"""

_DELETE_OLDEST: Final = """
    DELETE FROM console_session
    WHERE id_hash = ANY (ARRAY(
        SELECT id_hash FROM console_session WHERE token_id = $1 ORDER BY created_at DESC OFFSET $2
    ))
"""

# now(), the start of the transaction, is before created_at, so the constraint on the duration holds.
_INSERT: Final = """
    INSERT INTO console_session (id_hash, token_id, expires_at)
    SELECT $1, id, least(expires_at, now() + interval '8 hours') FROM api_token WHERE id = $2
"""


async def insert_session(connection: Connection, id_hash: bytes, *, token_id: int) -> tuple[str, int | None] | None:
    """Insert a session in a transaction and delete the oldest of the token beyond `MAX_SESSIONS`.

    Returns:
        The name and the organization id of the token; None if it is revoked.
    """
    token = await connection.fetchrow(_LOCK, token_id)  # concurrent sign-ins wait for each other
    if token is None:
        return None
    await connection.execute(_DELETE_OLDEST, token_id, MAX_SESSIONS - 1)
    await connection.execute(_INSERT, id_hash, token_id)
    return token["name"], token["organization_id"]


_NOTE_USE: Final = "UPDATE console_session SET last_used_at = clock_timestamp() WHERE id_hash = $1"


async def note_session_use(connection: Connection, id_hash: bytes) -> None:
    """Store the current time as the last use of a session."""
    await connection.execute(_NOTE_USE, id_hash)


_DELETE: Final = "DELETE FROM console_session WHERE id_hash = $1"


async def delete_session(connection: Connection, id_hash: bytes) -> bool:
    """Delete a session; return False if there is none."""
    return row_count(await connection.execute(_DELETE, id_hash)) == 1


_DELETE_EXPIRED: Final = """
    DELETE FROM console_session
    WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM console_session
        WHERE expires_at <= now()
        ORDER BY expires_at
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    ))
"""


async def delete_expired_sessions(connection: Connection, *, limit: int) -> int:
    """Delete at most ``limit`` expired sessions; return their number."""
    return row_count(await connection.execute(_DELETE_EXPIRED, limit))
