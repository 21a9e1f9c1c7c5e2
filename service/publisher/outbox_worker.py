"""Reads, parks and deletes outbox rows."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.kafka.errors import RecordRejectedError
from service.metrics import PublisherMetrics
from service.publisher.owned_shards import OwnedShards
from service.publisher.protocols import OutboxStore
from service.publisher.shard_queue import ShardQueue
from service.publisher.signals import Signals

_log = structlog.get_logger(__name__)

_POLL_INTERVAL: Final = 1.0
"""Seconds between two reads without a notification: rows of other processes are found within this time."""

_DELETE_DELAY: Final = 0.01
"""Seconds for which acknowledged rows are collected before one statement deletes them."""

_RETRY_DELAY: Final = 0.5
"""Seconds before the next attempt when the database is unavailable."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """Rows of a shard that Kafka acknowledged or rejected, and when the server started that had them then."""

    shard: ShardQueue
    server_started_at: datetime
    rows: Sequence[OutboxRow]


class OutboxWorker:
    """Parks rejected rows, then deletes acknowledged rows and reads new rows at the same time.

    So a read returns no row that follows a rejected row of its key. It returns no acknowledged row either: those are
    held until they are deleted.

    Args:
        store: The outbox table.
        shards: The queues that receive the rows.
        signals: The events that wake the loops of the publisher.
        published: Receives the rows that Kafka acknowledged.
        metrics: Counts parked rows.
    """

    def __init__(
        self,
        store: OutboxStore,
        shards: OwnedShards,
        signals: Signals,
        *,
        published: Callable[[Sequence[OutboxRow]], None],
        metrics: PublisherMetrics,
    ) -> None:
        self._store = store
        self._shards = shards
        self._signals = signals
        self._published = published
        self._metrics = metrics
        self._to_park: list[tuple[_Sent, RecordRejectedError]] = []
        self._to_delete: list[_Sent] = []
        self._processing = asyncio.Lock()

    def acknowledged(self, shard: ShardQueue, rows: Sequence[OutboxRow]) -> None:
        """Delete rows that Kafka acknowledged, together with others a few milliseconds later."""
        if not self._to_delete:
            asyncio.get_running_loop().call_later(_DELETE_DELAY, self._signals.outbox.set)
        self._to_delete.append(_sent(shard, rows))
        if shard.read_due:  # there may be a backlog, whose next rows need the slots
            self._signals.outbox.set()
        self._published(rows)

    def rejected(self, shard: ShardQueue, row: OutboxRow, error: RecordRejectedError) -> None:
        """Park a row that Kafka rejects for good."""
        self._to_park.append((_sent(shard, [row]), error))
        self._signals.outbox.set()

    async def run(self) -> None:
        """Park, delete and read until cancelled."""
        loop = asyncio.get_running_loop()
        poll_at = loop.time() + _POLL_INTERVAL
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(poll_at):
                    await self._signals.outbox.wait()
            if loop.time() >= poll_at:  # also if acknowledgements wake the worker more often than that
                poll_at = loop.time() + _POLL_INTERVAL
                self._shards.request_reads()
            self._signals.outbox.clear()
            try:
                await self.process()
            except UnavailableError as error:
                _log.log(error.log_level, "outbox_unreachable", error=str(error), retry_in_seconds=_RETRY_DELAY)
                await asyncio.sleep(_RETRY_DELAY)
                self._signals.outbox.set()

    async def process(self) -> None:
        """Park rejected rows, then delete acknowledged ones and read the shards for which a read is due.

        Raises:
            UnavailableError: The database is unavailable; the next call does the remaining work.
        """
        async with self._processing:  # another call may be deleting rows
            await self._park()
            read = self._read([shard for shard in self._shards.values() if shard.can_read])
            for failure in await asyncio.gather(self._delete(), read, return_exceptions=True):
                if failure is not None:
                    raise failure

    async def _park(self) -> None:
        while self._to_park:
            sent, error = self._to_park[0]
            parked = await self._store.park(
                sent.rows[0],
                epoch=sent.shard.epoch,
                server_started_at=sent.server_started_at,
                reason=str(error),
            )
            del self._to_park[0]
            if parked:
                self._metrics.rows_parked.labels(error.reason).inc()
                event = sent.rows[0].event
                details = {"shard": event.shard, "key": event.public_key, "version": event.version}
                _log.error("key_parked", **details, why=str(error))

    async def _delete(self) -> None:
        by_server: dict[datetime, list[_Sent]] = {}  # one server, except after a failover
        for each in self._to_delete:
            by_server.setdefault(each.server_started_at, []).append(each)
        self._to_delete = []
        try:
            while by_server:
                server_started_at, sent = next(iter(by_server.items()))
                await self._delete_of_server(server_started_at, sent)
                del by_server[server_started_at]
        except BaseException:  # on cancellation too: otherwise the queues would hold the rows for ever
            self._to_delete = [*chain.from_iterable(by_server.values()), *self._to_delete]
            raise

    async def _delete_of_server(self, server_started_at: datetime, sent: Sequence[_Sent]) -> None:
        rows = [(each.shard.number, row.seq, each.shard.epoch) for each in sent for row in each.rows]
        present = await self._store.delete_published(rows, server_started_at=server_started_at)
        for each in sent:
            if present == each.server_started_at == each.shard.server_started_at:
                each.shard.remove_deleted(each.rows)
        self._replace_outdated(present)

    async def _read(self, due: Sequence[ShardQueue]) -> None:
        if not due:
            return
        reads = [(shard, shard.begin_read()) for shard in due]
        rows: dict[int, list[OutboxRow]] = {shard.number: [] for shard in due}
        limits = {shard.number: shard.read_slots for shard in due}
        held = list(chain.from_iterable(shard.held_seqs for shard in due))
        try:
            selected, server_started_at = await self._store.select_unpublished(limits, held=held)
        except BaseException:
            for shard in due:
                shard.request_read()
            raise
        for row in selected:
            rows[row.event.shard].append(row)
        for shard, session in reads:
            shard.finish_read(rows[shard.number], session)
        if server_started_at is not None:
            # A former primary may answer reads: what it has is published already.
            self._replace_outdated(server_started_at)
        self._signals.sender.set()

    def _replace_outdated(self, server_started_at: datetime) -> None:
        if outdated := self._shards.replace_outdated(server_started_at):
            _log.warning("shards_reopened", shards=outdated, reason="another database server")
            self._signals.sender.set()


def _sent(shard: ShardQueue, rows: Sequence[OutboxRow]) -> _Sent:
    assert shard.server_started_at is not None, "a session was open"
    return _Sent(shard, shard.server_started_at, rows)
