"""The publisher's hand on the outbox table: parks what Kafka refuses, deletes what it has, reads what waits."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.kafka.errors import RefusedError
from service.metrics import PublisherMetrics
from service.postgres.database import Database
from service.postgres.outbox import delete_published, select_unpublished
from service.postgres.outbox_admin import park
from service.publisher.shard_queue import WINDOW, OwnedShard, State, Waiting

_log = structlog.get_logger(__name__)

_POLL: Final = 1.0
"""Seconds after which the table is read though nobody said that there is something: other processes write too."""

_GATHER: Final = 0.01
"""Seconds for which acknowledged rows are gathered before they are deleted together."""

_AFTER_FAULT: Final = 0.5
"""Seconds before the database is asked again."""


class OutboxTable:
    """Parks, deletes and reads in turn: so no row is read as new that was just deleted, or waits behind a parked one.

    Args:
        database: where the table is.
        shards: those that this process owns.
        arrived: is called when rows have been read.
        metrics: counts what is parked.
    """

    def __init__(
        self,
        database: Database,
        shards: Mapping[int, OwnedShard],
        *,
        arrived: Callable[[], None],
        metrics: PublisherMetrics,
    ) -> None:
        self._database = database
        self._shards = shards
        self._arrived = arrived
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._refused: list[tuple[OwnedShard, OutboxRow, RefusedError]] = []
        self._acknowledged: list[tuple[OwnedShard, OutboxRow]] = []
        self._turn = asyncio.Lock()

    def acknowledged(self, shard: OwnedShard, rows: Sequence[Waiting]) -> None:
        """Kafka has these rows of ``shard``."""
        if not self._acknowledged:
            asyncio.get_running_loop().call_later(_GATHER, self._woken.set)
        self._acknowledged.extend((shard, one.row) for one in rows)

    def refused(self, shard: OwnedShard, row: OutboxRow, error: RefusedError) -> None:
        """Kafka will never have this row of ``shard``."""
        self._refused.append((shard, row, error))
        self._woken.set()

    def wake(self) -> None:
        """Rows may have come to any shard that are in the table only."""
        for shard in self._shards.values():
            shard.reading_due = True
        self._woken.set()

    def wake_for_due(self) -> None:
        """Rows have come to shards whose reading is due already."""
        self._woken.set()

    async def run(self) -> None:
        """Park, delete and read until cancelled."""
        loop = asyncio.get_running_loop()
        poll_at = loop.time() + _POLL
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(poll_at):
                    await self._woken.wait()
            if loop.time() >= poll_at:  # however often acknowledgements wake it meanwhile
                poll_at = loop.time() + _POLL
                self.wake()
            self._woken.clear()
            try:
                await self.turn()
            except UnavailableError as error:
                _log.warning("outbox_unreachable", error=str(error), retry_in=_AFTER_FAULT)
                await asyncio.sleep(_AFTER_FAULT)
                self._woken.set()

    async def turn(self) -> None:
        """Park what is refused, delete what is acknowledged, then read what is due.

        Raises:
            UnavailableError: the database cannot be reached; nothing is forgotten.
        """
        async with self._turn:  # before any look: another's turn may still be deleting
            await self._park()
            await self._delete()
            await self._read([shard for shard in self._shards.values() if _reads(shard)])

    async def _park(self) -> None:
        while self._refused:
            shard, row, error = self._refused[0]
            async with self._database.connection() as connection:
                parked = await park(connection, row, epoch=shard.epoch, why=str(error))
            del self._refused[0]
            if parked:
                self._metrics.rows_parked.labels(error.reason).inc()
                event = row.event
                about = {"shard": shard.number, "key": event.public_key, "version": event.version}
                _log.error("key_parked", **about, why=str(error))

    async def _delete(self) -> None:
        gone, self._acknowledged = self._acknowledged, []
        if not gone:
            return
        try:
            async with self._database.connection() as connection:
                await delete_published(
                    connection, [(shard.number, row.seq, shard.epoch) for shard, row in gone]
                )
        except BaseException:  # a cancelled deletion too: the rows would be held for ever
            self._acknowledged = gone + self._acknowledged
            raise
        for shard, row in gone:
            shard.deleted(row.seq)

    async def _read(self, due: Sequence[OwnedShard]) -> None:
        if not due:
            return
        asked = [(shard, shard.begin_reading()) for shard in due]
        rows: dict[int, list[OutboxRow]] = {shard.number: [] for shard in due}
        try:
            async with self._database.connection() as connection:
                for row in await select_unpublished(connection, shards=list(rows), limit=WINDOW):
                    rows[row.event.shard].append(row)
        except BaseException:
            for shard in due:
                shard.reading_due = True
            raise
        for shard, read_for in asked:
            shard.take_from_table(rows[shard.number], read_for)
            if len(rows[shard.number]) >= WINDOW:
                shard.reading_due = True  # more may stand behind these
        self._arrived()


def _reads(shard: OwnedShard) -> bool:
    return shard.reading_due and shard.state is State.LIVE and not shard.leaving and shard.room >= WINDOW // 2
