"""Calls that arrive while one is under way go together into the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from service.domain.errors import BusyError

Item = TypeVar("Item")
Result = TypeVar("Result")

Run = Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]]
"""Does the work of several calls at once: for each item its result, or the error that its caller is to see."""


class Batcher(Generic[Item, Result]):
    """Gathers calls into flights.

    A lone call goes at once. A caller that goes away changes nothing: its flight has left or will leave all the
    same.

    Args:
        run: does the work of a flight.
        flights: how many flights may be under way at a time.
        most: how many calls one flight may carry.
        waiting: how many calls may wait for a flight.
    """

    def __init__(self, run: Run[Item, Result], *, flights: int, most: int, waiting: int) -> None:
        self._run = run
        self._flights = flights
        self._most = most
        self._waiting = waiting
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """The result to come for ``item``.

        Raises:
            BusyError: as many calls wait as may wait.
        """
        if len(self._queue) >= self._waiting:
            raise BusyError(f"{self._waiting} calls are waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.append((item, future))
        if len(self._under_way) < self._flights:
            self._under_way.add(loop.create_task(self._fly()))
        return future

    async def drain(self) -> None:
        """Wait until no flight is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _fly(self) -> None:
        while self._queue:
            calls = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
            try:
                results = await self._run([item for item, _ in calls])
            except Exception as error:  # noqa: BLE001 -- whatever it is, each caller must learn of it
                results = [error] * len(calls)
            for (_, future), result in zip(calls, results, strict=True):
                _settle(future, result)
        # Not by a callback of the task: a caller just answered may call again before the loop runs that.
        self._under_way.discard(asyncio.current_task())


def _settle(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
