"""A queue and slots in which tenants take turns, so that the load of a tenant does not delay the others."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from service.domain.errors import BusyError

Item = TypeVar("Item")

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


class TenantSlots:
    """A limit of the blocks that run at the same time; tenants that wait take turns.

    Args:
        slots: Maximum number of blocks that run at the same time.
        max_waiting: Maximum number of blocks that wait for a slot.
        max_wait: Maximum time that a block waits, in seconds.
    """

    def __init__(self, *, slots: int, max_waiting: int, max_wait: float) -> None:
        self._free = slots
        self._max_wait = max_wait
        self._waiters = TenantQueue[asyncio.Future[None]](max_waiting)

    @asynccontextmanager
    async def slot(self, tenant: int) -> AsyncIterator[None]:
        """Occupy a slot until the end of the block.

        Raises:
            BusyError: No slot was free in time, or too many blocks are waiting, most of them of this tenant.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, tenant: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        removed = self._waiters.put(tenant, waiter)
        if removed is not None and not removed.done():
            removed.set_exception(BusyError("the queue is full, and this tenant has the most calls in it"))
        try:
            async with asyncio.timeout(self._max_wait):
                await self._acquired(waiter)
        except TimeoutError:
            raise BusyError(f"no slot was free within {self._max_wait:g} s") from None

    async def _acquired(self, waiter: "asyncio.Future[None]") -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release()  # in one iteration of the loop, the waiter received a slot and was cancelled
            raise

    def _release(self) -> None:
        while waiters := self._waiters.take(1):
            if not waiters[0].done():
                waiters[0].set_result(None)
                return
        self._free += 1
