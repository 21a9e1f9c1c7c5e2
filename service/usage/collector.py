"""Reads the topic of outcomes in one of all processes, and stores the sums together with the offsets."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from projectkeys_consumer.topic_reader import TopicReader
from service.concurrency.backoff import Backoff
from service.domain.errors import UnavailableError
from service.domain.model import utc_now
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaFailureError
from service.kafka.reader import open_reader
from service.metrics import UsageMetrics
from service.postgres import usage as tables
from service.postgres.database import Database
from service.usage.outcomes import UsageBatch

_log = structlog.get_logger(__name__)

_BATCH_SECONDS: Final = 1.0
"""The longest time between two transactions while outcomes arrive: the delay of statistics."""

_MAX_BATCH: Final = 5_000
"""Records of a transaction; each may change a row."""

_SESSION_SECONDS: Final = 300.0
"""A new session finds new partitions of the topic and uses the present credentials."""

_CLEANUP_INTERVAL: Final = 600.0
"""Seconds between two searches for hours that are too old."""

_CLEANUP_BATCH: Final = 2_000
"""Rows deleted after a transaction, so that the reader is not delayed; fewer are created in the same time."""

_BACKOFF: Final = Backoff(first=0.5, longest=30.0)
"""Delays after failures."""


@dataclass(slots=True, kw_only=True)
class UsageCollector:
    """Counts each outcome once, whichever processes fail, pause or run at the same time.

    The transaction that adds the sums of a batch moves the offsets from its begin to its end, and is rolled back if
    they are not at its begin. The lease only prevents that several processes read the topic to no purpose.

    Attributes:
        database: The pool.
        connection: The connection settings of Kafka.
        topic: The topic of outcomes.
        owner: A name of this process that no other has.
        lease: How long this process remains the reader without a renewal.
        retention: How long hours are kept.
        metrics: Counts records.
    """

    database: Database
    connection: KafkaConnection
    topic: str
    owner: str
    lease: timedelta
    retention: timedelta
    metrics: UsageMetrics
    _next_cleanup: float = 0.0

    async def run(self) -> None:
        """Read outcomes whenever no other process does, until cancelled."""
        failures = 0
        while True:
            pause = self.lease.total_seconds() / 2
            try:
                if await self._claim(self.lease):
                    await self._read_as_owner()
                    failures, pause = 0, 0.0
            except (UnavailableError, KafkaFailureError) as error:
                failures += 1
                pause = _BACKOFF.delay(failures)
                _log.log(error.log_level, "usage_reader_failed", error=str(error), retry_in_seconds=round(pause, 2))
            await asyncio.sleep(pause)

    async def _claim(self, lease: timedelta) -> bool:
        async with self.database.connection() as connection:
            return await tables.claim_reader(connection, self.owner, lease=lease)

    async def _read_as_owner(self) -> None:
        """Read for the time of a session, or until another process has the lease; then release it."""
        loop = asyncio.get_running_loop()
        try:
            async with open_reader(self.connection, self.topic) as reader:
                positions = await self._open_positions(reader)
                reader.seek(positions)
                self.metrics.reading.set(1)
                end = loop.time() + _SESSION_SECONDS
                while loop.time() < end and await self._claim(self.lease):
                    positions = await self._count_batch(reader, positions)
                    await self._delete_old()
        finally:
            self.metrics.reading.set(0)
            with suppress(UnavailableError):
                await self._claim(timedelta())

    async def _open_positions(self, reader: TopicReader) -> dict[int, int]:
        """Return the next offset of each partition: the first one for a new partition, and after a gap.

        The stored offsets are read first, so that those of Kafka are not older: an offset beyond the end of a
        partition means that the topic was deleted and created again.
        """
        async with self.database.connection() as connection:
            stored = await tables.select_offsets(connection, self.topic)
        begins, ends = await reader.beginnings(), await reader.ends()
        new = {partition: begin for partition, begin in begins.items() if partition not in stored}
        gaps = {
            partition: (stored[partition], begin)
            for partition, begin in begins.items()
            if partition in stored and not begin <= stored[partition] <= ends[partition]
        }
        async with self.database.transaction() as connection:
            if new:
                await tables.insert_offsets(connection, self.topic, new)
            if gaps:
                await tables.move_offsets(connection, self.topic, gaps)
                await tables.note_gap(connection)
        for partition, (offset, begin) in gaps.items():
            self.metrics.missed.inc(max(1, begin - offset))
            _log.warning("outcomes_missed", partition=partition, next_offset=offset, first_offset=begin)
        continued = begins.keys() & stored.keys() - gaps.keys()
        return begins | {partition: stored[partition] for partition in continued}

    async def _count_batch(self, reader: TopicReader, positions: dict[int, int]) -> dict[int, int]:
        """Read outcomes for a second, count them in a transaction, and return the new positions."""
        batch, loop = UsageBatch(), asyncio.get_running_loop()
        end = loop.time() + min(_BATCH_SECONDS, self.lease.total_seconds() / 3)
        while loop.time() < end and batch.counted + batch.malformed < _MAX_BATCH:
            batch.add((record.value for record in await reader.read()), now=utc_now())
        reached = await reader.positions()
        moves = {
            partition: (positions[partition], offset)
            for partition, offset in reached.items()
            if offset != positions[partition]
        }
        unknown = 0
        if moves:
            async with self.database.transaction() as connection:
                await tables.move_offsets(connection, self.topic, moves)
                if batch.quantities:
                    unknown = await tables.add_usage(connection, batch.quantities)
        lag = sum(end - reached[partition] for partition, end in reader.known_ends().items())
        self.metrics.show(batch.counted, batch.malformed, unknown, lag=lag)
        return reached

    async def _delete_old(self) -> None:
        """Delete some of the hours that are too old, if it is time."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_cleanup:
            async with self.database.connection() as connection:
                deleted = await tables.delete_old_usage(connection, older_than=self.retention, limit=_CLEANUP_BATCH)
            self._next_cleanup = now if deleted == _CLEANUP_BATCH else now + _CLEANUP_INTERVAL
