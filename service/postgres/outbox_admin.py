"""Parked rows of the table outbox: Kafka refuses them for good, and the later ones of their keys wait behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.domain.events import OutboxRow
from service.postgres.database import Connection
from service.postgres.outbox import FLOWS

_PARK: Final = """
    UPDATE outbox
    SET parked_at = clock_timestamp(), last_error = $4, attempts = attempts + 1
    FROM outbox_shard
    WHERE outbox.shard = $1 AND outbox.seq = $2 AND outbox.parked_at IS NULL
      AND outbox_shard.shard = $1 AND outbox_shard.epoch = $3
"""


async def park(connection: Connection, row: OutboxRow, *, epoch: int, why: str) -> bool:
    """Park a row, unless its shard has changed hands since ``epoch``; returns whether it was done."""
    return _count(await connection.execute(_PARK, row.event.shard, row.seq, epoch, why)) == 1


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A parked row; ``attempts`` counts Kafka's refusals, the ids are None where nobody knows them any more."""

    shard: int
    seq: int
    public_key: str
    type: str
    version: int
    since: datetime
    attempts: int
    reason: str
    organization_id: int | None
    project_id: int | None


_SELECT: Final = """
    SELECT shard, seq, aggregateid AS public_key, type, outbox.version, parked_at AS since, attempts,
           last_error AS reason,
           coalesce((payload->>'organizationId')::bigint, deleted_key.organization_id) AS organization_id,
           coalesce((payload->>'projectId')::bigint, deleted_key.project_id) AS project_id
    FROM outbox
    LEFT JOIN deleted_key ON deleted_key.public_key = aggregateid
    WHERE parked_at IS NOT NULL AND ($1::text IS NULL OR aggregateid = $1)
    ORDER BY parked_at, seq
    LIMIT $2
"""


async def select_parked(connection: Connection, *, key: str | None = None, limit: int) -> list[ParkedRow]:
    """The parked rows, of one key or of all, longest parked first, at most ``limit``."""
    return [ParkedRow(**dict(row.items())) for row in await connection.fetch(_SELECT, key, limit)]


_COUNT_BEHIND: Final = "SELECT count(*) FROM outbox WHERE shard = $1 AND seq > $2 AND aggregateid = $3"


async def count_behind(connection: Connection, row: ParkedRow) -> int:
    """How many rows of its key wait behind a parked row."""
    return int(await connection.fetchval(_COUNT_BEHIND, row.shard, row.seq, row.public_key))


_RELEASE: Final = """
    UPDATE outbox SET parked_at = NULL WHERE parked_at IS NOT NULL AND ($1::text IS NULL OR aggregateid = $1)
"""


async def release_parked(connection: Connection, *, key: str | None = None) -> int:
    """Let the parked row of a key, or every one, be tried again; returns how many."""
    return _count(await connection.execute(_RELEASE, key))


_DISCARD: Final = "DELETE FROM outbox WHERE shard = $1 AND seq = $2 AND parked_at IS NOT NULL"


async def discard_parked(connection: Connection, row: ParkedRow) -> bool:
    """Delete a parked row, and nothing that waits behind it; False if it is not parked any more."""
    return _count(await connection.execute(_DISCARD, row.shard, row.seq)) == 1


def _count(status: str) -> int:
    """The number of rows in a command's tag, such as `UPDATE 3`."""
    return int(status.rpartition(" ")[2])


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
