"""The table outbox: events that Kafka has not acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
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


_SELECT_UNPUBLISHED: Final = """
    SELECT row.seq, row.id, row.type, row.aggregateid, row.version, row.shard, row.payload, row.headers,
           row.created_at
    FROM unnest($1::smallint[]) AS owned (shard)
    CROSS JOIN LATERAL (
        SELECT seq, id, type, aggregateid, version, shard, payload, headers, created_at
        FROM outbox
        WHERE outbox.shard = owned.shard AND parked_at IS NULL
        ORDER BY seq
        LIMIT $2
    ) AS row
    ORDER BY row.seq
"""


async def select_unpublished(connection: Connection, *, shards: Sequence[int], limit: int) -> list[OutboxRow]:
    """The oldest rows of each of ``shards``, at most ``limit`` of each, in the order of their numbers.

    Always from the beginning: a number is drawn before its transaction commits, so a row below those already seen
    may still come to light.
    """
    return [_from_row(row) for row in await connection.fetch(_SELECT_UNPUBLISHED, shards, limit)]


# The setting holds for this transaction alone, which is this statement.
_DELETE_PUBLISHED: Final = """
    DELETE FROM outbox
    USING (SELECT set_config('synchronous_commit', 'off', true)) AS without_waiting,
          unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS acknowledged (shard, seq, epoch),
          outbox_shard
    WHERE outbox.shard = acknowledged.shard AND outbox.seq = acknowledged.seq
      AND outbox_shard.shard = acknowledged.shard AND outbox_shard.epoch = acknowledged.epoch
"""


async def delete_published(connection: Connection, acknowledged: Sequence[tuple[int, int, int]]) -> None:
    """Delete rows that Kafka has acknowledged, but none of a shard that has changed hands since.

    Without waiting for the disk: a deletion lost in a crash is one duplicate, no more.

    Args:
        connection: outside a transaction.
        acknowledged: shard, seq and the owner's epoch of each row.
    """
    await connection.execute(_DELETE_PUBLISHED, *zip(*acknowledged, strict=True))


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the outbox: how many rows, and since when the oldest."""

    depth: int
    oldest_age: timedelta


_BACKLOG_BOUND: Final = 100_000
"""Rows counted at most: the figure says that there is a backlog, not how to count one."""

_SELECT_BACKLOG: Final = """
    SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS waiting) AS depth,
           coalesce(clock_timestamp() - min(head.created_at), interval '0') AS oldest_age
    FROM outbox_shard
    CROSS JOIN LATERAL (
        SELECT created_at FROM outbox WHERE outbox.shard = outbox_shard.shard ORDER BY seq LIMIT 1
    ) AS head
"""


async def select_backlog(connection: Connection) -> Backlog:
    """How much waits and since when, over all shards; the depth is counted up to 100 000."""
    row = await connection.fetchrow(_SELECT_BACKLOG, _BACKLOG_BOUND)
    assert row is not None, "an aggregate has one row"
    return Backlog(depth=row["depth"], oldest_age=max(row["oldest_age"], timedelta()))


_IS_WAITING: Final = "SELECT EXISTS (SELECT FROM outbox WHERE shard = $1 AND id = $2)"


async def is_waiting(connection: Connection, *, shard: int, event_id: UUID) -> bool:
    """Whether Kafka does not have an event yet that was committed."""
    return bool(await connection.fetchval(_IS_WAITING, shard, event_id))


_COUNT: Final = "SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS waiting"


async def count_outbox(connection: Connection, *, most: int) -> int:
    """How many rows there are, counted up to ``most``."""
    return int(await connection.fetchval(_COUNT, most))


_NOTIFY: Final = "SELECT pg_notify($1, '')"

CHANNEL: Final = "outbox"
"""What other processes listen on."""


async def notify_publishers(connection: Connection) -> None:
    """Wake the publishers of other processes.

    Never in the transaction of a write: NOTIFY holds a lock of the whole cluster until after the commit, and
    commits would then go to disk one by one.
    """
    await connection.execute(_NOTIFY, CHANNEL)


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
