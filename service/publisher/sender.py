"""Opens producer sessions and sends batches, in order for each key."""

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any, Final

import structlog

from service.concurrency.backoff import Backoff
from service.domain.events import REPLAYED
from service.kafka.errors import FencedError, RecordRejectedError
from service.kafka.records import heartbeat_record, record_of
from service.kafka.types import Batch
from service.metrics import PublisherMetrics
from service.publisher.outbox_worker import OutboxWorker
from service.publisher.owned_shards import OwnedShards
from service.publisher.protocols import Producer, ShardOwnership
from service.publisher.shard_queue import ShardQueue
from service.publisher.signals import Signals

_log = structlog.get_logger(__name__)

_WAVE_INTERVAL: Final = 0.002
"""Seconds between two waves: under load many rows share a batch, and no consumer notices the delay."""

_MAX_BATCH_SIZE: Final = 200
"""Records of one shard in one batch: some 300 kB of the 1 MB that a broker accepts."""

_BACKLOG_GROUPS: Final = 3
"""Requests into which the batches of a backlog are divided: one is sent while others are built, read or deleted."""

_RETRY: Final = Backoff(first=0.1, longest=2.0)
"""The delays between the attempts of one shard; as soon as one is opened, Kafka is available again, and all retry."""


class Sender:
    """Sends in waves: one batch of each shard that has rows and none in flight, in one request per leader.

    Args:
        producer: Sends to Kafka.
        ownership: Confirms that a shard is still owned after its session was opened.
        shards: The queues to send from.
        worker: Receives the rows that Kafka acknowledged or rejected.
        signals: The events that wake the loops of the publisher.
        metrics: Counts and times.
    """

    def __init__(
        self,
        producer: Producer,
        ownership: ShardOwnership,
        shards: OwnedShards,
        worker: OutboxWorker,
        signals: Signals,
        metrics: PublisherMetrics,
    ) -> None:
        self._producer = producer
        self._ownership = ownership
        self._shards = shards
        self._worker = worker
        self._signals = signals
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._retries_all = False

    async def run(self) -> None:
        """Send until cancelled; raise every error that is not the failure of a shard."""
        self._error = None
        try:
            while True:
                await self._signals.sender.wait()
                self._signals.sender.clear()
                if self._error is not None:
                    raise self._error
                self._start_wave()
                await asyncio.sleep(_WAVE_INTERVAL)
        finally:
            for task in self._tasks:
                task.cancel()

    async def send_heartbeats(self, interval: float) -> None:
        """Send a heartbeat to every shard each ``interval`` seconds until cancelled; 0 sends none."""
        if interval == 0:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(interval)
            for shard in self._shards.values():
                shard.request_heartbeat()
            self._signals.sender.set()

    async def drain(self, shards: Sequence[ShardQueue], longest: float) -> None:
        """Wait until no record of draining shards is in flight and all acknowledged rows are deleted.

        Args:
            shards: The shards.
            longest: The timeout in seconds; records that are in flight after it may be sent twice.
        """
        try:
            async with asyncio.timeout(longest):
                while self._tasks and not all(shard.idle for shard in shards):
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                await self._worker.process()
        except TimeoutError:
            _log.warning("shutdown_with_inflight_rows", shards=[shard.number for shard in shards])

    def _start_wave(self) -> None:
        now = math.inf if self._retries_all else time.monotonic()
        self._retries_all = False
        waves: dict[tuple[Hashable, int], list[tuple[ShardQueue, Batch]]] = defaultdict(list)
        for shard in self._shards.values():
            if shard.can_open(now):
                shard.begin_opening()
                self._start(self._open(shard))
            elif (batch := self._next_batch(shard)) is not None:
                group = shard.number % _BACKLOG_GROUPS if shard.read_due else 0
                waves[self._producer.leader(shard.number), group].append((shard, batch))
        # One task per leader: a leader that does not respond must not delay the shards of the others.
        for wave in waves.values():
            self._start(self._send(wave))

    def _next_batch(self, shard: ShardQueue) -> Batch | None:
        if (session := shard.session) is None:
            return None
        if shard.can_send:
            pending = shard.next_batch(_MAX_BATCH_SIZE)
            # An iterator: each record is encoded before the next one is built, which needs half the time and memory.
            return Batch(session, (record_of(record.row, record.part) for record in pending))
        if shard.can_send_heartbeat:
            shard.begin_heartbeat()
            return Batch(session, [heartbeat_record()])
        return None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
            self._signals.sender.set()

    async def _open(self, shard: ShardQueue) -> None:
        try:
            session = await self._producer.open(shard.number)
            # Checked after the earlier sessions are fenced: a later owner fences this session in turn.
            state = await self._ownership.newest_seq_if_owner(shard.number, epoch=shard.epoch)
        except Exception as error:  # noqa: BLE001 -- the shard is retried after any error
            self._failed(shard, error)
            return
        if state is None:
            self._failed(shard, FencedError("the shard has another owner"))
            return
        newest_seq, server_started_at = state
        shard.finish_opening(session, newest_seq=newest_seq, server_started_at=server_started_at)
        self._metrics.sessions_opened.inc()
        self._retries_all = True
        self._signals.sender.set()
        self._signals.outbox.set()

    async def _send(self, wave: Sequence[tuple[ShardQueue, Batch]]) -> None:
        try:
            outcomes = await self._producer.send([batch for _, batch in wave])
        except Exception as error:  # noqa: BLE001 -- the shards are retried after any error
            for shard, _ in wave:
                self._failed(shard, error)
            return
        for (shard, _), outcome in zip(wave, outcomes, strict=True):
            if outcome.error is None:
                self._succeeded(shard, outcome.acknowledged)
            elif isinstance(outcome.error, RecordRejectedError):
                self._rejected(shard, outcome.error)
            else:
                self._failed(shard, outcome.error)
        self._signals.sender.set()

    def _succeeded(self, shard: ShardQueue, count: int) -> None:
        now = time.time()
        records = shard.acknowledge(count)
        for record in records:
            if REPLAYED not in record.row.event.headers:  # its age does not measure the publisher
                self._metrics.publish_seconds.observe(max(0.0, now - record.committed_at))
        if records:
            self._worker.acknowledged(shard, [record.row for record in records])

    def _rejected(self, shard: ShardQueue, error: RecordRejectedError) -> None:
        delay = _RETRY.delay(shard.failures + 1)
        if (row := shard.reject(time.monotonic() + delay)) is not None:
            self._worker.rejected(shard, row, error)
        self._schedule_retry(shard, error, delay)

    def _failed(self, shard: ShardQueue, error: Exception) -> None:
        delay = _RETRY.delay(shard.failures + 1)
        shard.fail(time.monotonic() + delay)
        if isinstance(error, FencedError):
            self._signals.leases.set()
        self._schedule_retry(shard, error, delay)

    def _schedule_retry(self, shard: ShardQueue, error: Exception, delay: float) -> None:
        asyncio.get_running_loop().call_later(delay, self._signals.sender.set)
        self._metrics.failures.labels(type(error).__name__).inc()
        level = getattr(error, "log_level", logging.WARNING)
        _log.log(level, "shard_failed", shard=shard.number, error=str(error), retry_in_seconds=round(delay, 2))
