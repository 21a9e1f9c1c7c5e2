"""The table idempotency: the results of requests, stored for a day."""

from datetime import timedelta
from typing import Final

import asyncpg

from service.domain.errors import IdempotencyKeyInUseError
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.postgres.database import Connection, row_count

CONSTRAINT: Final = "idempotency_pkey"
"""The constraint that rejects the second of two requests with the same idempotency key."""

_TTL: Final = timedelta(hours=24)

_SELECT: Final = """
    SELECT fingerprint, target_id, event_id, created_at <= clock_timestamp() - $3::interval AS is_old
    FROM idempotency
    WHERE token_id = $1 AND key = $2
"""

_DELETE: Final = """
    DELETE FROM idempotency WHERE token_id = $1 AND key = $2 AND created_at <= clock_timestamp() - $3::interval
"""


async def select_result(connection: Connection, key: IdempotencyKey) -> StoredResult | None:
    """Return the stored result of the request with ``key``; None if no result is younger than a day."""
    row = await connection.fetchrow(_SELECT, key.token_id, key.text, _TTL)
    if row is None:
        return None
    if row["is_old"]:  # not deleted by `delete_expired` yet
        await connection.execute(_DELETE, key.token_id, key.text, _TTL)
        return None
    return StoredResult(fingerprint=row["fingerprint"], target_id=row["target_id"], event_id=row["event_id"])


_INSERT: Final = """
    INSERT INTO idempotency (token_id, key, fingerprint, target_id) VALUES ($1, $2, $3, $4)
"""


async def insert_result(connection: Connection, key: IdempotencyKey, *, target_id: int) -> None:
    """Store the result of a request without an event, in its transaction.

    Raises:
        IdempotencyKeyInUseError: A concurrent request with this key was committed first.
    """
    try:
        await connection.execute(_INSERT, key.token_id, key.text, key.fingerprint, target_id)
    except asyncpg.UniqueViolationError:
        raise IdempotencyKeyInUseError from None


_DELETE_EXPIRED: Final = """
    DELETE FROM idempotency
    WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM idempotency
        WHERE created_at <= clock_timestamp() - $1::interval
        ORDER BY created_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ))
"""


async def delete_expired(connection: Connection, *, limit: int) -> int:
    """Delete at most ``limit`` results that are older than a day; return their number."""
    return row_count(await connection.execute(_DELETE_EXPIRED, _TTL, limit))
