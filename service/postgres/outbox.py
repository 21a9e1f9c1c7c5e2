"""The table outbox: events that Kafka has not acknowledged."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from service.domain.events import Event, OutboxRow
from service.postgres.database import Connection

_INSERT_EVENTS: Final = """
    INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, created_at)
    SELECT *
    FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::smallint[], $6::json[], $7::json[], $8::timestamptz[]
    )
    RETURNING id, seq
"""


async def insert_events(connection: Connection, events: Sequence[Event]) -> list[OutboxRow]:
    """Write events in the transaction of what they tell of, under the locks of their keys; returns their rows."""
    columns = zip(*(_columns(event) for event in events), strict=True)
    records = await connection.fetch(_INSERT_EVENTS, *columns)
    seqs = {record["id"]: record["seq"] for record in records}
    return [OutboxRow(seq=seqs[event.id], event=event) for event in events]


def _columns(event: Event) -> tuple[object, ...]:
    return (
        event.id,
        event.public_key,
        event.type,
        event.version,
        event.shard,
        event.payload,
        orjson.dumps(event.headers).decode(),
        event.occurred_at,
    )


# OFFSET 0 has it looked up row by row in the tiny index outbox_parked: a join may read the whole table instead.
FLOWS: Final = """
    NOT EXISTS (
        SELECT
        FROM outbox AS parked
        WHERE parked.shard = outbox.shard AND parked.aggregateid = outbox.aggregateid
          AND parked.parked_at IS NOT NULL AND parked.seq <= outbox.seq
        OFFSET 0
    )
"""
"""The condition that a row of ``outbox`` is not parked and does not wait behind a parked one of its key."""

_SELECT_UNPUBLISHED: Final = f"""
    SELECT row.seq, row.id, row.type, row.aggregateid, row.version, row.shard, row.payload, row.headers,
           row.created_at
    FROM unnest($1::smallint[]) AS owned (shard)
    CROSS JOIN LATERAL (
        SELECT seq, id, type, aggregateid, version, shard, payload, headers, created_at
        FROM outbox
        WHERE outbox.shard = owned.shard AND {FLOWS}
        ORDER BY seq
        LIMIT $2
    ) AS row
    ORDER BY row.seq
"""  # noqa: S608 -- the condition is the constant above


async def select_unpublished(connection: Connection, *, shards: Sequence[int], limit: int) -> list[OutboxRow]:
    """The oldest rows of each of ``shards``, at most ``limit`` of each, in the order of their numbers.

    Always from the beginning: a number is drawn before its transaction commits, so a row below those already seen
    may still come to light. Without the parked rows and those that wait behind them.
    """
    return [_from_row(row) for row in await connection.fetch(_SELECT_UNPUBLISHED, shards, limit)]


# The setting holds for this transaction alone, which is this statement. OFFSET 0 has each row looked up by its key:
# a plain join, in a plan that was made and kept while the table was empty, would read all of it for each row.
_DELETE_PUBLISHED: Final = """
    DELETE FROM outbox
    USING (SELECT set_config('synchronous_commit', 'off', true)) AS without_waiting,
          unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS acknowledged (shard, seq, epoch)
          JOIN outbox_shard USING (shard, epoch)
          CROSS JOIN LATERAL (
              SELECT row.ctid
              FROM outbox AS row
              WHERE row.shard = acknowledged.shard AND row.seq = acknowledged.seq
              OFFSET 0
          ) AS found
    WHERE outbox.ctid = found.ctid
"""


async def delete_published(connection: Connection, acknowledged: Sequence[tuple[int, int, int]]) -> None:
    """Delete rows that Kafka has acknowledged, but none of a shard that has changed hands since.

    Without waiting for the disk: a deletion lost in a crash is one duplicate, no more.

    Args:
        connection: outside a transaction.
        acknowledged: shard, seq and the owner's epoch of each row.
    """
    await connection.execute(_DELETE_PUBLISHED, *zip(*acknowledged, strict=True))


_IS_WAITING: Final = "SELECT EXISTS (SELECT FROM outbox WHERE shard = $1 AND id = $2)"


async def is_waiting(connection: Connection, *, shard: int, event_id: UUID) -> bool:
    """Whether Kafka does not have an event yet that was committed."""
    return bool(await connection.fetchval(_IS_WAITING, shard, event_id))


_COUNT: Final = f"""
    SELECT count(*) FROM (SELECT FROM outbox WHERE {FLOWS} ORDER BY shard, seq LIMIT $1) AS waiting
"""  # noqa: S608 -- the condition is the constant above


async def count_outbox(connection: Connection, *, most: int) -> int:
    """How many rows are on their way, parked ones and those behind them left out, counted up to ``most``."""
    return int(await connection.fetchval(_COUNT, most))


_NOTIFY: Final = "SELECT pg_notify($1, '')"

ROWS_CAME: Final = "outbox"
"""The channel on which other processes are told of rows that they publish."""


async def notify_publishers(connection: Connection) -> None:
    """Wake the publishers of other processes.

    Never in the transaction of a write: NOTIFY holds a lock of the whole cluster until after the commit, and
    commits would then go to disk one by one.
    """
    await connection.execute(_NOTIFY, ROWS_CAME)


def _from_row(row: asyncpg.Record) -> OutboxRow:
    event = Event(
        id=row["id"],
        type=row["type"],
        public_key=row["aggregateid"],
        version=row["version"],
        shard=row["shard"],
        payload=row["payload"],
        headers=orjson.loads(row["headers"]),
        occurred_at=row["created_at"],
    )
    return OutboxRow(seq=row["seq"], event=event)
