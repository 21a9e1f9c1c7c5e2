"""The limits on requests in progress: their number, the rate of 503 responses to further requests, and their time."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from service.domain.errors import BusyError

_log = structlog.get_logger(__name__)

_RETRY_AFTER: Final = 1.0
"""Seconds: the value of the header Retry-After, and the shortest interval between log lines about refusals."""

_INTERVAL: Final = 0.02
"""Seconds between two runs of the loop in `AdmissionControl.run`."""

_REFUSALS_PER_INTERVAL: Final = 50
"""2 500 per second. Without this limit, many refusals in a row would delay the admitted requests by seconds."""

_RELEASES_PER_INTERVAL: Final = 20
"""Refused connections that are read again, 1 000 per second: that uses a tenth of one processor."""


_DEADLINE_INTERVAL: Final = 0.25
"""Seconds between two checks of the deadlines; a request can exceed its timeout by as much."""


class AdmissionControl:
    """A limit on requests in progress, each of which occupies a slot.

    If no slot is free, the request is refused, at most `_REFUSALS_PER_INTERVAL` requests per `_INTERVAL`; further
    requests wait for the next interval. After a refusal the connection is not read for `_RETRY_AFTER` seconds unless
    slots become free, because clients that ignore Retry-After would otherwise keep the process busy.

    Args:
        limit: The number of slots.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.free = limit
        """The number of free slots; negative if requests continue after a wait while all slots are occupied."""
        self._in_flight = 0
        self._waiting_for_kafka = 0
        self._refusals_left = _REFUSALS_PER_INTERVAL
        self._queue: deque[asyncio.Future[None]] = deque()
        self._refused: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._unlogged_refusals = 0
        self._closing = False

    @property
    def in_flight(self) -> int:
        """The number of requests in progress, including those that wait without a slot."""
        return self._in_flight

    def try_acquire(self) -> bool:
        """Occupy a slot for a request; return False if none is free."""
        if self.free < 1:
            return False
        self.free -= 1
        self._in_flight += 1
        return True

    async def acquire(self) -> bool:
        """Occupy a slot; if none is free, wait until the request may be refused and return False."""
        while self.free < 1 and self._refusals_left < 1 and not self._closing:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            await turn
        if self.try_acquire():
            return True
        self._refusals_left -= 1
        self._unlogged_refusals += 1
        return False

    def release(self) -> None:
        """End a request for which `try_acquire` or `acquire` returned True."""
        self.free += 1
        self._in_flight -= 1

    @contextmanager
    def body_arriving(self) -> Iterator[None]:
        """Free the slot of a request while its body arrives: the request waits only for the client.

        Raises:
            BusyError: The body has arrived, but other requests occupy all slots.
        """
        with self._slot_freed():
            yield
        if self.free < 0:
            raise BusyError("no free slot for a request whose body has arrived")

    @contextmanager
    def waiting_for_kafka(self) -> Iterator[bool]:
        """Free the slot of a completed write while it waits for Kafka; yield whether it may wait.

        At most ``limit`` writes may wait. They occupy no slots, so that a failure of Kafka does not cause the refusal
        of requests that do not wait for it.
        """
        self._waiting_for_kafka += 1
        try:
            with self._slot_freed():
                yield self._waiting_for_kafka <= self._limit
        finally:
            self._waiting_for_kafka -= 1

    @contextmanager
    def _slot_freed(self) -> Iterator[None]:
        self.free += 1
        try:
            yield
        finally:
            self.free -= 1

    async def defer_refused(self) -> None:
        """Wait, after a refusal, until the connection may be read again."""
        if self._closing:
            return
        loop = asyncio.get_running_loop()
        released: asyncio.Future[None] = loop.create_future()
        self._refused.append((loop.time() + _RETRY_AFTER, released))
        await released

    def close(self) -> None:
        """End all current and future waits, because the process is about to stop."""
        self._closing = True
        _wake(self._queue, len(self._queue))
        self._release_refused(len(self._refused))

    async def run(self) -> None:
        """Release refused connections in their order and log the refusals, until cancelled."""
        loop, last_logged = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(_INTERVAL)
            now = loop.time()
            self._refusals_left = _REFUSALS_PER_INTERVAL
            _wake(self._queue, min(len(self._queue), max(self.free, _REFUSALS_PER_INTERVAL)))
            due = 0
            while due < min(_RELEASES_PER_INTERVAL, len(self._refused)) and self._refused[due][0] <= now:
                due += 1
            # A quarter of the slots is reserved for the next requests of connections that were not refused.
            self._release_refused(max(due, min(self.free - self._limit // 4, len(self._refused))))
            if self._unlogged_refusals and now - last_logged > _RETRY_AFTER:
                _log.warning("requests_refused", count=self._unlogged_refusals, in_flight=self._in_flight)
                self._unlogged_refusals, last_logged = 0, now

    def _release_refused(self, count: int) -> None:
        _wake(deque(self._refused.popleft()[1] for _ in range(count)), count)


def _wake(futures: deque[asyncio.Future[None]], count: int) -> None:
    for _ in range(count):
        future = futures.popleft()
        if not future.done():
            future.set_result(None)


class Deadlines:
    """The deadlines of requests, ``timeout`` seconds after their start; later, their tasks are cancelled.

    One periodic check enforces them instead of a timer for each request.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._cancelled: set[asyncio.Task[Any]] = set()

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Set the deadline of the request that ``task`` handles."""
        self._deadlines[task] = time.monotonic() + self._timeout

    def end(self, task: asyncio.Task[Any]) -> bool:
        """Remove the deadline of ``task``; return whether it cancelled the task, and undo that cancellation."""
        self._deadlines.pop(task, None)
        if task not in self._cancelled:
            return False
        self._cancelled.discard(task)
        task.uncancel()
        return True

    async def run(self) -> None:
        """Cancel the tasks whose deadline has passed, until cancelled."""
        while True:
            await asyncio.sleep(_DEADLINE_INTERVAL)
            now = time.monotonic()
            for task in [task for task, deadline in self._deadlines.items() if deadline <= now]:
                del self._deadlines[task]
                self._cancelled.add(task)
                task.cancel()
