"""The publisher's hand on the outbox table: deletes what Kafka has and reads what waits."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.kafka.owned_shard import WINDOW, OwnedShard, State, Waiting
from service.postgres.database import Database
from service.postgres.outbox import delete_published, select_unpublished

_log = structlog.get_logger(__name__)

_POLL: Final = 1.0
"""Seconds after which the table is read though nobody said that there is something: other processes write too."""

_GATHER: Final = 0.01
"""Seconds for which acknowledged rows are gathered before they are deleted together."""

_AFTER_FAULT: Final = 0.5
"""Seconds before the database is asked again."""


class OutboxTable:
    """Deletes and reads in turn, on one connection: so a row that was just deleted is never read as new.

    Args:
        database: where the table is.
        shards: those that this process owns.
        arrived: is called when rows have been read.
    """

    def __init__(
        self, database: Database, shards: Mapping[int, OwnedShard], *, arrived: Callable[[], None]
    ) -> None:
        self._database = database
        self._shards = shards
        self._arrived = arrived
        self._woken = asyncio.Event()
        self._acknowledged: list[tuple[OwnedShard, OutboxRow]] = []
        self._turn = asyncio.Lock()

    def acknowledged(self, shard: OwnedShard, rows: Sequence[Waiting]) -> None:
        """Kafka has these rows of ``shard``."""
        if not self._acknowledged:
            asyncio.get_running_loop().call_later(_GATHER, self._woken.set)
        self._acknowledged.extend((shard, one.row) for one in rows)

    def wake(self) -> None:
        """Rows may have come that are in the table only."""
        for shard in self._shards.values():
            shard.reading_due = True
        self._woken.set()

    async def run(self) -> None:
        """Delete and read until cancelled."""
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
        """Delete what is acknowledged, then read what is due.

        Raises:
            UnavailableError: the database cannot be reached; nothing is forgotten.
        """
        due = [shard for shard in self._shards.values() if _reads(shard)]
        if not self._acknowledged and not due:
            return
        async with self._turn:
            await self._delete()
            await self._read([shard for shard in self._shards.values() if _reads(shard)])

    async def _delete(self) -> None:
        gone, self._acknowledged = self._acknowledged, []
        if not gone:
            return
        try:
            async with self._database.connection() as connection:
                await delete_published(
                    connection, [(shard.number, row.seq, shard.epoch) for shard, row in gone]
                )
        except UnavailableError:
            self._acknowledged = gone + self._acknowledged
            raise
        for shard, row in gone:
            shard.deleted(row.seq)

    async def _read(self, due: Sequence[OwnedShard]) -> None:
        if not due:
            return
        for shard in due:
            shard.reading_due = False  # before the reading: what comes while it lasts is due again
        rows: dict[int, list[OutboxRow]] = {shard.number: [] for shard in due}
        try:
            async with self._database.connection() as connection:
                for row in await select_unpublished(connection, shards=list(rows), limit=WINDOW):
                    rows[row.event.shard].append(row)
        except UnavailableError:
            for shard in due:
                shard.reading_due = True
            raise
        for shard in due:
            shard.take_from_table(rows[shard.number])
            if len(rows[shard.number]) >= WINDOW:
                shard.reading_due = True  # more may stand behind these
        self._arrived()


def _reads(shard: OwnedShard) -> bool:
    return shard.reading_due and shard.state is State.LIVE and not shard.leaving and shard.room >= WINDOW // 2
