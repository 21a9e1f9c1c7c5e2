"""The table idempotency: which request made what, for a day."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

from service.domain.errors import KeyInUseError
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.postgres.database import Connection

CONSTRAINT: Final = "idempotency_pkey"
"""What is violated where two requests with one key run at the same time."""

KEPT: Final = timedelta(hours=24)

_SELECT: Final = """
    SELECT fingerprint, target_id, event_id, created_at <= clock_timestamp() - $3::interval AS is_old
    FROM idempotency
    WHERE token_id = $1 AND key = $2
"""

_FORGET_ONE: Final = """
    DELETE FROM idempotency WHERE token_id = $1 AND key = $2 AND created_at <= clock_timestamp() - $3::interval
"""


async def select_made(connection: Connection, key: IdempotencyKey) -> StoredResult | None:
    """What the first request with ``key`` made, if it made something and that is less than a day ago."""
    row = await connection.fetchrow(_SELECT, key.token_id, key.text, KEPT)
    if row is None:
        return None
    if row["is_old"]:  # and nobody has come by to forget it
        await connection.execute(_FORGET_ONE, key.token_id, key.text, KEPT)
        return None
    return StoredResult(fingerprint=row["fingerprint"], target_id=row["target_id"], event_id=row["event_id"])


_INSERT: Final = """
    INSERT INTO idempotency (token_id, key, fingerprint, target_id, event_id) VALUES ($1, $2, $3, $4, $5)
"""


async def insert_made(
    connection: Connection, key: IdempotencyKey, *, target_id: int, event_id: UUID | None
) -> None:
    """Remember what was made, in its own transaction.

    Raises:
        KeyInUseError: another request with this key was quicker.
    """
    try:
        await connection.execute(_INSERT, key.token_id, key.text, key.fingerprint, target_id, event_id)
    except asyncpg.UniqueViolationError:
        raise KeyInUseError from None


_FORGET: Final = """
    DELETE FROM idempotency
    WHERE (token_id, key) IN (
        SELECT token_id, key
        FROM idempotency
        WHERE created_at <= clock_timestamp() - $1::interval
        ORDER BY created_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
"""


async def forget_old(connection: Connection, *, most: int) -> int:
    """Forget at most ``most`` keys that are more than a day old; returns how many there were."""
    status: str = await connection.execute(_FORGET, KEPT, most)
    return int(status.rpartition(" ")[2])
