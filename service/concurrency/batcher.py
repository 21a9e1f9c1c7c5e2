"""Calls that arrive while one is under way go together into the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from service.concurrency.tenant_queue import TenantQueue
from service.domain.errors import BusyError

Item = TypeVar("Item")
Result = TypeVar("Result")

Run = Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]]
"""Does the work of several calls at once: for each item its result, or the error that its caller is to see."""


class Batcher(Generic[Item, Result]):
    """Gathers calls into flights, which tenants fill in turn.

    A lone call goes at once. A caller that goes away changes nothing: its flight has left or will leave all the
    same.

    Args:
        run: does the work of a flight.
        flights: how many flights may be under way at a time.
        most: how many calls one flight may carry.
        waiting: how many calls may wait for a flight; beyond them the tenant that has the most is refused.
    """

    def __init__(self, run: Run[Item, Result], *, flights: int, most: int, waiting: int) -> None:
        self._run = run
        self._flights = flights
        self._most = most
        self._queue = TenantQueue[tuple[Item, asyncio.Future[Result]]](waiting)
        self._under_way: set[asyncio.Task[None]] = set()

    def submit(self, item: Item, *, tenant: int = 0) -> asyncio.Future[Result]:
        """The result to come for ``item``; `BusyError` if it has to leave the queue for another tenant's.

        Raises:
            BusyError: as many calls wait as may wait, and no other tenant has more of them.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        removed = self._queue.put(tenant, (item, future))
        if removed is not None:
            _settle(removed[1], BusyError("calls of other tenants are waiting"))
        if len(self._under_way) < self._flights:
            self._under_way.add(loop.create_task(self._fly()))
        return future

    async def drain(self) -> None:
        """Wait until no flight is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _fly(self) -> None:
        while self._queue:
            calls = [self._queue.take() for _ in range(min(self._most, len(self._queue)))]
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
