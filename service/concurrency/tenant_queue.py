"""Queues and slots that serve tenants in turn: the load of one tenant does not delay the others by its length."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from service.domain.errors import BusyError

Item = TypeVar("Item")

_MAX_EXCESS: Final = 1
"""A queue that is longer by at most this keeps its items: otherwise two tenants would only change places."""


class TenantQueue(Generic[Item]):
    """A bounded queue that serves tenants in turn, and the items of one tenant in their order.

    Args:
        max_size: Maximum number of items of all tenants together.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._length = 0
        # Only queues that hold an item, and their tenants in the order of their turns.
        self._queues: dict[int, deque[Item]] = {}
        self._turns: deque[int] = deque()

    def put(self, tenant: int, item: Item) -> Item | None:
        """Add an item; return the item that is removed from a full queue for it, or None.

        The removed item is the newest of the tenant with the most items.

        Raises:
            BusyError: The queue is full, and this tenant has as many items in it as any other.
        """
        removed = self._remove_one_for(tenant) if self._length >= self._max_size else None
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            self._turns.append(tenant)
        queue.append(item)
        self._length += 1
        return removed

    def take(self, max_items: int) -> list[Item]:
        """Remove and return the next items, at most ``max_items``, one of each tenant in turn."""
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

    def _remove_one_for(self, tenant: int) -> Item:
        longest = max(self._queues.values(), key=len)
        if len(longest) - len(self._queues.get(tenant, ())) <= _MAX_EXCESS:
            raise BusyError(f"{self._max_size} calls are waiting")
        self._length -= 1
        return longest.pop()


class TenantSlots:
    """Slots that limit how much work runs at the same time; tenants wait for a slot in turn.

    Args:
        slots: Work that runs at the same time.
        max_waiting: Work that waits for a slot.
        max_wait: Seconds that each may wait.
    """

    def __init__(self, *, slots: int, max_waiting: int, max_wait: float) -> None:
        self._free = slots
        self._max_wait = max_wait
        self._waiters = TenantQueue[asyncio.Future[None]](max_waiting)

    @asynccontextmanager
    async def slot(self, tenant: int) -> AsyncIterator[None]:
        """Occupy a slot until the end of the block.

        Raises:
            BusyError: No slot was free in time, or too much work is waiting, most of it of this tenant.
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
            removed.set_exception(BusyError("calls of other tenants are waiting"))
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
                self._release()  # the waiter received the slot and was cancelled in the same iteration of the loop
            raise

    def _release(self) -> None:
        while waiters := self._waiters.take(1):
            if not waiters[0].done():
                waiters[0].set_result(None)
                return
        self._free += 1
