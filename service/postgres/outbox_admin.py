"""The table outbox for operators: parked rows and the size of the backlog."""

from typing import Final

from service.domain.events import ParkedRow
from service.postgres.database import Connection, row_count
from service.postgres.outbox import NOT_PARKED

_SELECT_PARKED: Final = """
    SELECT shard, seq, aggregateid AS public_key, type, outbox.version, parked_at AS since, attempts,
           last_error AS reason,
           coalesce((payload->>'organizationId')::bigint, deleted.organization_id) AS organization_id,
           coalesce((payload->>'projectId')::bigint, deleted.project_id) AS project_id
    FROM outbox
    LEFT JOIN LATERAL (
        SELECT organization_id, project_id FROM deleted_key WHERE public_key = outbox.aggregateid OFFSET 0
    ) AS deleted ON true
    WHERE parked_at IS NOT NULL AND ($1::text IS NULL OR aggregateid = $1)
    ORDER BY parked_at, seq
    LIMIT $2
"""


async def select_parked(connection: Connection, *, key: str | None = None, limit: int) -> list[ParkedRow]:
    """Return the parked rows of a key, or of all keys, the longest parked first, at most ``limit``."""
    return [ParkedRow(**dict(row.items())) for row in await connection.fetch(_SELECT_PARKED, key, limit)]


_COUNT_BLOCKED: Final = "SELECT count(*) FROM outbox WHERE shard = $1 AND seq > $2 AND aggregateid = $3"


async def count_blocked(connection: Connection, row: ParkedRow) -> int:
    """Return how many later rows of its key a parked row blocks."""
    return int(await connection.fetchval(_COUNT_BLOCKED, row.shard, row.seq, row.public_key))


_UNPARK: Final = """
    UPDATE outbox SET parked_at = NULL WHERE parked_at IS NOT NULL AND ($1::text IS NULL OR aggregateid = $1)
"""


async def unpark(connection: Connection, *, key: str | None = None) -> int:
    """Clear the parked state of a key's row, or of all rows, so that they are sent again; return their number."""
    return row_count(await connection.execute(_UNPARK, key))


_DISCARD: Final = "DELETE FROM outbox WHERE shard = $1 AND seq = $2 AND parked_at IS NOT NULL"


async def discard_parked(connection: Connection, row: ParkedRow) -> bool:
    """Delete a parked row but no later row of its key; return False if it is no longer parked."""
    return row_count(await connection.execute(_DISCARD, row.shard, row.seq)) == 1


COUNTED: Final = 5_000
"""Rows of each shard that are counted, the oldest first: metrics show that there is a backlog, not its full size."""


_SELECT_BACKLOG: Final = f"""
    SELECT outbox_shard.shard, count(unpublished.created_at) AS depth,
           greatest(0, extract(epoch FROM clock_timestamp() - min(unpublished.created_at)))::float8 AS oldest_age
    FROM outbox_shard
    LEFT JOIN LATERAL (
        SELECT created_at
        FROM (
            SELECT shard, seq, aggregateid, created_at
            FROM outbox
            WHERE outbox.shard = outbox_shard.shard
            ORDER BY seq
            LIMIT $1
        ) AS outbox
        WHERE {NOT_PARKED}
    ) AS unpublished ON true
    GROUP BY outbox_shard.shard
    ORDER BY outbox_shard.shard
"""

_COUNT_PARKED: Final = """
    SELECT count(*) FROM (SELECT FROM outbox WHERE parked_at IS NOT NULL LIMIT $1) AS parked
"""


async def select_backlog(connection: Connection) -> tuple[dict[int, tuple[int, float]], int]:
    """Return the number of unpublished rows and the age of the oldest in seconds by shard, and that of parked rows.

    Rows that a parked row blocks are not counted; of each shard, and of the parked rows, at most `COUNTED` are.
    """
    rows = await connection.fetch(_SELECT_BACKLOG, COUNTED)
    parked = await connection.fetchval(_COUNT_PARKED, COUNTED)
    return {row["shard"]: (row["depth"], row["oldest_age"]) for row in rows}, int(parked)
