"""What waits in the outbox, for the metrics: cheap to ask however much it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.postgres.database import Connection
from service.postgres.outbox import FLOWS

COUNTED: Final = 5_000
"""Rows of each shard that are looked at, the oldest: the figures say that there is a backlog, not its size."""


@dataclass(frozen=True, slots=True)
class ShardBacklog:
    """What of one shard is on its way to Kafka: how many rows, and the age of the oldest in seconds."""

    shard: int
    depth: int
    oldest_age: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is on its way, by shard, and how many rows are parked; what waits behind those is in neither."""

    shards: Sequence[ShardBacklog]
    parked: int


_SELECT_BACKLOG: Final = f"""
    SELECT outbox_shard.shard, count(waiting.created_at) AS depth,
           greatest(0, extract(epoch FROM clock_timestamp() - min(waiting.created_at)))::float8 AS oldest_age
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
        WHERE {FLOWS}
    ) AS waiting ON true
    GROUP BY outbox_shard.shard
    ORDER BY outbox_shard.shard
"""  # noqa: S608 -- the condition is a constant

_COUNT_PARKED: Final = """
    SELECT count(*) FROM (SELECT FROM outbox WHERE parked_at IS NOT NULL LIMIT $1) AS parked
"""


async def select_backlog(connection: Connection) -> Backlog:
    """How much waits and since when; of each shard, and of the parked rows, up to 5 000 are counted."""
    rows = await connection.fetch(_SELECT_BACKLOG, COUNTED)
    parked = await connection.fetchval(_COUNT_PARKED, COUNTED)
    return Backlog([ShardBacklog(**dict(row.items())) for row in rows], int(parked))
