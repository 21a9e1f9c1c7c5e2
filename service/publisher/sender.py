"""Opens the shards' sessions and sends what waits, in order for each key."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from service.domain.events import REPLAYED, OutboxRow
from service.kafka.errors import FencedError, RefusedError
from service.kafka.records import heartbeat_record, record_of
from service.kafka.types import Batch, Outcome, Session
from service.metrics import PublisherMetrics
from service.publisher.shard_queue import OwnedShard, State, Waiting

_log = structlog.get_logger(__name__)

_PACE: Final = 0.002
"""Seconds between two waves: enough for a busy process to gather rows, too little for a reader to notice."""

_MOST: Final = 200
"""Records of one shard in one batch: some 300 kB of the 1 MB that a broker accepts."""

_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 2.0
"""Seconds to wait after the first failure of a shard and at most; Kafka's return is noticed within these, and six
tries a second for all twelve shards are no burden while it is away."""


class Producer(Protocol):
    """What sends: a fenced session for each shard, one batch of it at a time."""

    async def open(self, shard: int) -> Session:
        """Fence off every earlier session of the shard."""

    async def send(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Send side by side; one outcome for each batch."""

    def leader(self, shard: int) -> Hashable:
        """What answers for the shard: those with the same one are sent to it together."""


class Sender:
    """Sends in waves: all shards that have rows and none on their way, in as few requests as there are leaders.

    Args:
        producer: what sends.
        shards: those that this process owns; others add to it and take from it.
        confirm: asked after a shard's fence stands: the greatest row number drawn so far, or None if the shard is
            not this process's any more.
        acknowledged: is told of the rows that Kafka has.
        refused: is told of a row that Kafka will never have, and why.
        opened: is called when a shard's rows can be read.
        lost: is called when a shard seems to be somebody else's.
        metrics: counts and times.
    """

    def __init__(
        self,
        producer: Producer,
        shards: Mapping[int, OwnedShard],
        *,
        confirm: Callable[[OwnedShard], Awaitable[int | None]],
        acknowledged: Callable[[OwnedShard, Sequence[Waiting]], None],
        refused: Callable[[OwnedShard, OutboxRow, RefusedError], None],
        opened: Callable[[], None],
        lost: Callable[[], None],
        metrics: PublisherMetrics,
    ) -> None:
        self._producer = producer
        self._shards = shards
        self._confirm = confirm
        self._acknowledged = acknowledged
        self._refused = refused
        self._opened = opened
        self._lost = lost
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None

    def wake(self) -> None:
        """There may be something to send or to open."""
        self._woken.set()

    async def run(self) -> None:
        """Send until cancelled; a fault of its own ends it."""
        self._fault = None
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                if self._fault is not None:
                    raise self._fault
                self._start_wave()
                await asyncio.sleep(_PACE)
        finally:
            for task in self._tasks:
                task.cancel()

    async def beat(self, interval: float) -> None:
        """Have a heartbeat sent to every shard each ``interval`` seconds until cancelled; with 0, none."""
        if interval == 0:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(interval)
            for shard in self._shards.values():
                shard.heartbeat_due = True
            self.wake()

    async def quiet(self, shards: Sequence[OwnedShard]) -> None:
        """Wait until nothing of ``shards`` is on its way."""
        while self._tasks and not all(shard.idle for shard in shards):
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def _start_wave(self) -> None:
        now = time.monotonic()
        waves: dict[Hashable, list[tuple[OwnedShard, Batch]]] = defaultdict(list)
        for shard in self._shards.values():
            if shard.state is State.CLOSED and not shard.leaving and shard.retry_at <= now:
                shard.state = State.OPENING
                self._start(self._open(shard))
            elif (batch := self._next_batch(shard)) is not None:
                waves[self._producer.leader(shard.number)].append((shard, batch))
        # Each leader by itself: one that is silent must not hold up what others have answered for.
        for wave in waves.values():
            self._start(self._send(wave))

    def _next_batch(self, shard: OwnedShard) -> Batch | None:
        if shard.session is None:
            return None
        session = shard.session
        if shard.sendable:
            waiting = shard.next_batch(_MOST)
            try:
                return Batch(session, [record_of(one.row, one.part) for one in waiting])
            except Exception as error:  # noqa: BLE001 -- whatever it is, the other shards must go on
                self._failed(shard, error)
        elif shard.can_beat:
            shard.beat()
            return Batch(session, [heartbeat_record()])
        return None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
            self.wake()

    async def _open(self, shard: OwnedShard) -> None:
        try:
            session = await self._producer.open(shard.number)
            # Asked after the fence stands: whoever takes the shard later will fence this session off.
            newest = await self._confirm(shard)
            if newest is None:
                raise FencedError("the shard has changed hands")  # noqa: TRY301 -- one way out for every failure
        except Exception as error:  # noqa: BLE001 -- whatever it is, the shard must be tried again
            self._failed(shard, error)
        else:
            shard.opened(session, newest)
            self._metrics.sessions_opened.inc()
            self._opened()

    async def _send(self, wave: Sequence[tuple[OwnedShard, Batch]]) -> None:
        try:
            outcomes = await self._producer.send([batch for _, batch in wave])
        except Exception as error:  # noqa: BLE001 -- whatever it is, the shards must be tried again
            for shard, _ in wave:
                self._failed(shard, error)
            return
        for (shard, _), outcome in zip(wave, outcomes, strict=True):
            if outcome.error is None:
                self._succeeded(shard, outcome.acknowledged)
            else:
                self._failed(shard, outcome.error, while_sending=True)
        self.wake()

    def _succeeded(self, shard: OwnedShard, count: int) -> None:
        now = time.time()
        rows = shard.acknowledged(count)
        for one in rows:
            if REPLAYED not in one.row.event.headers:  # it tells of what is long known
                self._metrics.publish_seconds.observe(max(0.0, now - one.committed_at))
        if rows:
            self._acknowledged(shard, rows)

    def _failed(self, shard: OwnedShard, error: Exception, *, while_sending: bool = False) -> None:
        longest = min(_FIRST_BACKOFF * 2**shard.failures, _LONGEST_BACKOFF)
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 -- spreads retries, hides nothing
        retry_at = time.monotonic() + pause
        if while_sending and isinstance(error, RefusedError):
            if (row := shard.refused(retry_at)) is not None:
                self._refused(shard, row, error)
        else:
            shard.failed(retry_at)
        asyncio.get_running_loop().call_later(pause, self.wake)
        if isinstance(error, FencedError):
            self._lost()
        self._metrics.failures.labels(type(error).__name__).inc()
        _log.warning("shard_failed", shard=shard.number, error=str(error), retry_in=round(pause, 2))
