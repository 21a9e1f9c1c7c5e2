"""Batching of concurrent calls: those that arrive while a batch is running share the next one; tenants take turns."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from service.domain.errors import BusyError

Item = TypeVar("Item")
Result = TypeVar("Result")

RunBatch = Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]]
"""Processes the items of a batch; returns for each item its result, or the exception that its caller receives."""


_MAX_EXCESS: Final = 1
"""Items that the longest queue may have more than another: without it, two tenants would displace each other."""


class TenantQueue(Generic[Item]):
    """A bounded queue: tenants take turns, and the items of a tenant keep their order.

    Args:
        max_size: Maximum number of items of all tenants together.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._length = 0
        # The queues that are not empty, and their tenants in the order of the next turns.
        self._queues: dict[int, deque[Item]] = {}
        self._turns: deque[int] = deque()

    def put(self, tenant: int, item: Item) -> Item | None:
        """Add an item; return the item that it replaces if the queue is full, otherwise None.

        The replaced item is the newest item of the tenant with the most items.

        Raises:
            BusyError: The queue is full, and no other tenant has at least two items more in it.
        """
        removed = self._remove_newest_of_longest(tenant) if self._length >= self._max_size else None
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            self._turns.append(tenant)
        queue.append(item)
        self._length += 1
        return removed

    def take(self, max_items: int) -> list[Item]:
        """Remove and return the next items, at most ``max_items``; tenants take turns."""
        taken: list[Item] = []
        while self._turns and len(taken) < max_items:
            queue = self._queues[self._turns[0]]
            taken.append(queue.popleft())
            if queue:
                self._turns.rotate(-1)
            else:
                del self._queues[self._turns.popleft()]
        self._length -= len(taken)
        return taken

    def _remove_newest_of_longest(self, tenant: int) -> Item:
        longest = max(self._queues.values(), key=len)
        if len(longest) - len(self._queues.get(tenant, ())) <= _MAX_EXCESS:
            raise BusyError(f"the queue is full: {self._max_size} calls are waiting")
        self._length -= 1
        return longest.pop()


class Batcher(Generic[Item, Result]):
    """Combines calls into batches, in which tenants take turns.

    A call starts a batch at once unless ``max_running_batches`` are running. Cancelling a caller does not cancel the
    batch of its call.

    Args:
        run_batch: Processes a batch.
        max_running_batches: Maximum number of batches that run at the same time.
        max_batch_size: Maximum number of calls in a batch.
        max_queue_size: Maximum number of calls that wait for a batch. When the queue is full, calls of the tenant
            that has the most calls in it fail.
    """

    def __init__(
        self,
        run_batch: RunBatch[Item, Result],
        *,
        max_running_batches: int,
        max_batch_size: int,
        max_queue_size: int,
    ) -> None:
        self._run_batch = run_batch
        self._max_running_batches = max_running_batches
        self._max_batch_size = max_batch_size
        self._queue = TenantQueue[tuple[Item, asyncio.Future[Result]]](max_queue_size)
        self._running: set[asyncio.Task[None]] = set()

    def submit(self, item: Item, *, tenant: int = 0) -> asyncio.Future[Result]:
        """Queue a call; return the future of its result.

        The future raises the exception of the call, or `BusyError` if the queue is full later and a call of another
        tenant replaces this one.

        Raises:
            BusyError: The queue is full, and no other tenant has at least two calls more in it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        removed = self._queue.put(tenant, (item, future))
        if removed is not None and not removed[1].done():
            removed[1].set_exception(BusyError("the queue is full, and this tenant has the most calls in it"))
        if len(self._running) < self._max_running_batches:
            self._running.add(loop.create_task(self._run_batches()))
        return future

    async def drain(self) -> None:
        """Wait until no batch is running and the queue is empty."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run_batches(self) -> None:
        while calls := self._queue.take(self._max_batch_size):
            items, futures = zip(*calls, strict=True)
            try:
                results = await self._run_batch(items)
            except Exception as error:  # noqa: BLE001 -- every caller of the batch receives it
                results = [error] * len(items)
            for future, result in zip(futures, results, strict=True):
                if future.done():  # its caller was cancelled
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        # Not in a callback of the task: a caller whose future is done may call again before the loop runs callbacks.
        self._running.discard(asyncio.current_task())
