"""Opens the shards' sessions and sends what waits, in order for each key."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from service.kafka.errors import FencedError
from service.kafka.owned_shard import OwnedShard, State, Waiting
from service.kafka.producer import Batch, Outcome, Session
from service.kafka.records import record_of
from service.metrics import PublisherMetrics

_log = structlog.get_logger(__name__)

_PACE: Final = 0.002
"""Seconds between two waves: enough for a busy process to gather rows, too little for a reader to notice."""

_MOST: Final = 200
"""Rows of one shard in one batch: some 300 kB of the 1 MB that a broker accepts."""

_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0
"""Seconds to wait after the first failure of a shard and at most; Kafka's return is noticed within these."""


class Producer(Protocol):
    """What sends: a fenced session for each shard, one batch of it at a time."""

    async def open(self, shard: int) -> Session:
        """Fence off every earlier session of the shard."""

    async def send(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Send side by side; one outcome for each batch."""


class Sender:
    """Sends in waves: all shards that have rows and none on their way, in as few requests as there are leaders.

    Args:
        producer: what sends.
        shards: those that this process owns; others add to it and take from it.
        confirm: whether a shard is still this process's, asked after its fence stands.
        acknowledged: is told of the rows that Kafka has.
        opened: is called when a shard's rows can be read.
        lost: is called when a shard seems to be somebody else's.
        metrics: counts and times.
    """

    def __init__(
        self,
        producer: Producer,
        shards: Mapping[int, OwnedShard],
        *,
        confirm: Callable[[OwnedShard], Awaitable[bool]],
        acknowledged: Callable[[OwnedShard, Sequence[Waiting]], None],
        opened: Callable[[], None],
        lost: Callable[[], None],
        metrics: PublisherMetrics,
    ) -> None:
        self._producer = producer
        self._shards = shards
        self._confirm = confirm
        self._acknowledged = acknowledged
        self._opened = opened
        self._lost = lost
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """There may be something to send or to open."""
        self._woken.set()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                self._start_wave()
                await asyncio.sleep(_PACE)
        finally:
            for task in self._tasks:
                task.cancel()

    async def quiet(self, shards: Sequence[OwnedShard]) -> None:
        """Wait until nothing of ``shards`` is on its way."""
        while not all(shard.idle for shard in shards):
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def _start_wave(self) -> None:
        now = time.monotonic()
        for shard in self._shards.values():
            if shard.state is State.CLOSED and not shard.leaving and shard.retry_at <= now:
                shard.state = State.OPENING
                self._start(self._open(shard))
        wave = [
            (shard.session, shard, shard.next_batch(_MOST))
            for shard in self._shards.values()
            if shard.session is not None and shard.sendable
        ]
        if wave:
            self._start(self._send(wave))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, shard: OwnedShard) -> None:
        try:
            session = await self._producer.open(shard.number)
            # Asked after the fence stands: whoever takes the shard later will fence this session off.
            if not await self._confirm(shard):
                raise FencedError("the shard has changed hands")  # noqa: TRY301 -- one way out for every failure
        except Exception as error:  # noqa: BLE001 -- whatever it is, the shard must be tried again
            self._failed(shard, error)
        else:
            shard.opened(session)
            self._metrics.sessions_opened.inc()
            self._opened()

    async def _send(self, wave: Sequence[tuple[Session, OwnedShard, Sequence[Waiting]]]) -> None:
        batches = [Batch(session, [record_of(one.row) for one in waiting]) for session, _, waiting in wave]
        try:
            outcomes = await self._producer.send(batches)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the shards must be tried again
            for _, shard, _ in wave:
                self._failed(shard, error)
            return
        for (_, shard, _), outcome in zip(wave, outcomes, strict=True):
            if outcome.error is None:
                self._succeeded(shard, outcome.acknowledged)
            else:
                self._failed(shard, outcome.error)
        self.wake()

    def _succeeded(self, shard: OwnedShard, count: int) -> None:
        now = time.time()
        rows = shard.acknowledged(count)
        for one in rows:
            self._metrics.publish_seconds.observe(now - one.committed_at)
        self._acknowledged(shard, rows)

    def _failed(self, shard: OwnedShard, error: Exception) -> None:
        longest = min(_FIRST_BACKOFF * 2**shard.failures, _LONGEST_BACKOFF)
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 -- spreads retries, hides nothing
        shard.failed(time.monotonic() + pause)
        asyncio.get_running_loop().call_later(pause, self.wake)
        if isinstance(error, FencedError):
            self._lost()
        self._metrics.failures.labels(type(error).__name__).inc()
        _log.warning("shard_failed", shard=shard.number, error=str(error), retry_in=round(pause, 2))
