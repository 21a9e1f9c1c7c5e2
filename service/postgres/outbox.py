"""The table outbox: events that Kafka has not acknowledged. What operators do with it is in `outbox_admin`."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from service.domain.events import Event, OutboxRow
from service.postgres.database import Connection, Database
from service.postgres.shards import SHARDS_RELEASED

_INSERT_EVENTS: Final = """
    INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, created_at)
    SELECT *
    FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::smallint[], $6::json[], $7::json[], $8::timestamptz[]
    )
    RETURNING id, seq
"""


async def insert_events(connection: Connection, events: Sequence[Event]) -> list[OutboxRow]:
    """Insert events in the transaction that changes their keys and holds the keys' locks; return their rows."""
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


# OFFSET 0 forces a lookup per row in the tiny index outbox_parked: a join may read the whole table instead.
NOT_PARKED: Final = """
    NOT EXISTS (
        SELECT
        FROM outbox AS parked
        WHERE parked.shard = outbox.shard AND parked.aggregateid = outbox.aggregateid
          AND parked.parked_at IS NOT NULL AND parked.seq <= outbox.seq
        OFFSET 0
    )
"""
"""The condition that a row of ``outbox`` is not parked and does not follow a parked row of its key."""

_SELECT_UNPUBLISHED: Final = f"""
    SELECT row.seq, row.id, row.type, row.aggregateid, row.version, row.shard, row.payload, row.headers,
           row.created_at, pg_postmaster_start_time() AS server_started_at
    FROM unnest($1::smallint[], $2::integer[]) AS owned (shard, most)
    CROSS JOIN LATERAL (
        SELECT seq, id, type, aggregateid, version, shard, payload, headers, created_at
        FROM outbox
        WHERE outbox.shard = owned.shard AND outbox.seq NOT IN (SELECT unnest($3::text::bigint[])) AND {NOT_PARKED}
        ORDER BY seq
        LIMIT owned.most
    ) AS row
"""


def _array(numbers: Iterable[int]) -> str:
    """Return an array as text: asyncpg checks the type of each element in Python."""
    return f"{{{','.join(map(str, numbers))}}}"


# OFFSET 0 forces an index lookup for each row: a plain join, under a cached plan that was made while the table was
# empty, would read the whole table for each row.
_DELETE_PUBLISHED: Final = """
    WITH deleted AS (
        DELETE FROM outbox
        USING unnest($1::smallint[], $2::bigint[], $3::text[]) AS acknowledged (shard, epoch, seqs)
              JOIN outbox_shard USING (shard, epoch)
              CROSS JOIN unnest(acknowledged.seqs::bigint[]) AS sent (seq)
              CROSS JOIN LATERAL (
                  SELECT row.ctid
                  FROM outbox AS row
                  WHERE row.shard = acknowledged.shard AND row.seq = sent.seq
                  OFFSET 0
              ) AS found
        WHERE outbox.ctid = found.ctid AND pg_postmaster_start_time() = $4
    )
    SELECT pg_postmaster_start_time()
"""


_PARK: Final = """
    UPDATE outbox
    SET parked_at = clock_timestamp(), last_error = $4, attempts = attempts + 1
    FROM outbox_shard
    WHERE outbox.shard = $1 AND outbox.seq = $2 AND outbox.parked_at IS NULL
      AND outbox_shard.shard = $1 AND outbox_shard.epoch = $3 AND pg_postmaster_start_time() = $5
    RETURNING true
"""

_IS_UNPUBLISHED: Final = """
    SELECT coalesce(bool_or(id = $2), false) OR count(*) = $3
    FROM (SELECT id FROM outbox WHERE shard = $1 ORDER BY seq LIMIT $3) AS oldest
"""

_SEARCHED: Final = 1_000
"""Rows that are searched for an event; a longer backlog is not read, because waiting requests repeat the search."""


async def is_unpublished(connection: Connection, *, shard: int, event_id: UUID) -> bool:
    """Return whether a committed event is not yet acknowledged by Kafka, or its shard has a long backlog."""
    return bool(await connection.fetchval(_IS_UNPUBLISHED, shard, event_id, _SEARCHED))


_COUNT: Final = f"""
    SELECT count(*) FROM (SELECT FROM outbox WHERE {NOT_PARKED} ORDER BY shard, seq LIMIT $1) AS unpublished
"""


async def count_outbox(connection: Connection, *, most: int) -> int:
    """Return the number of unpublished rows, at most ``most``; without parked rows and later rows of their keys."""
    return int(await connection.fetchval(_COUNT, most))


_NOTIFY: Final = "SELECT pg_notify($1, '')"

ROWS_COMMITTED: Final = "outbox"
"""The channel on which publishers are notified of rows that another process has committed."""


async def notify_publishers(connection: Connection) -> None:
    """Notify the publishers of other processes that there are rows to publish.

    Never in the transaction of a write: NOTIFY holds a lock of the whole cluster until after the commit, so that
    commits would be flushed to disk one by one.
    """
    await connection.execute(_NOTIFY, ROWS_COMMITTED)


def _from_row(row: asyncpg.Record) -> OutboxRow:
    # In the order of the columns: to find them by name takes twice as long.
    seq, event_id, event_type, public_key, version, shard, payload, headers, created_at, _ = row
    event = Event(event_id, event_type, public_key, version, shard, payload, orjson.loads(headers), created_at)
    return OutboxRow(seq, event)


class PostgresOutbox:
    """The outbox as the publisher uses it; each method takes a connection of its own from the pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def select_unpublished(
        self, limits: Mapping[int, int], *, held: Collection[int]
    ) -> tuple[list[OutboxRow], datetime | None]:
        """Return the oldest rows of some shards, ordered by seq.

        Reads always start with the lowest seq: a seq is drawn before its transaction commits, so a row with a lower
        seq than the rows already read can appear later. Parked rows and later rows of their keys are left out.

        Args:
            limits: The shards, and the maximum number of rows of each.
            held: Seqs of rows that the caller has already, which are left out.

        Returns:
            The rows, and when the server that has them started; None without a row.

        Raises:
            UnavailableError: The database is unavailable; every method raises it.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SELECT_UNPUBLISHED, limits.keys(), limits.values(), _array(held))
        found = sorted(map(_from_row, rows), key=lambda row: row.seq)
        return found, rows[0]["server_started_at"] if rows else None

    async def delete_published(
        self, acknowledged: Sequence[tuple[int, int, int]], *, server_started_at: datetime
    ) -> datetime:
        """Delete rows that Kafka has acknowledged, except those of a shard whose epoch has changed.

        The deletion is durable on return: a row that came back after a crash of Postgres would be sent again, after
        newer versions of its key whose rows are deleted already. After a failover a standby may lack the last
        transactions, so that epochs and numbers are assigned again and deleted rows exist: nothing is deleted there.

        Args:
            acknowledged: Shard, seq and the owner's epoch of each row.
            server_started_at: When the server on which the rows were committed or read has started.

        Returns:
            When the present server has started; if this is another time, nothing was deleted.
        """
        seqs: dict[tuple[int, int], list[int]] = defaultdict(list)
        for shard, seq, epoch in acknowledged:
            seqs[shard, epoch].append(seq)
        shards, epochs = zip(*seqs, strict=True) if seqs else ((), ())
        arguments = shards, epochs, list(map(_array, seqs.values())), server_started_at
        async with self._database.connection() as connection:
            started_at: datetime = await connection.fetchval(_DELETE_PUBLISHED, *arguments)
        return started_at

    async def park(self, row: OutboxRow, *, epoch: int, server_started_at: datetime, reason: str) -> bool:
        """Park a row that Kafka rejects.

        Returns:
            False if the shard's epoch or the server is another one, or if the row is parked already.
        """
        async with self._database.connection() as connection:
            parked = await connection.fetchval(_PARK, row.event.shard, row.seq, epoch, reason, server_started_at)
            return parked is True

    async def notify_publishers(self) -> None:
        """Notify other processes, see `notify_publishers`."""
        async with self._database.connection() as connection:
            await notify_publishers(connection)

    @property
    def can_listen(self) -> bool:
        """Whether LISTEN works; False through PgBouncer."""
        return self._database.has_session

    def listen(
        self, *, rows_committed: Callable[[], None], shards_released: Callable[[], None]
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[bool]]]:
        """Call the functions on each notification, until the end of the block.

        The block receives a function that checks whether the connection still works.
        """
        return self._database.listening({ROWS_COMMITTED: rows_committed, SHARDS_RELEASED: shards_released})
