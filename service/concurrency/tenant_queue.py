"""Queues from which tenants are served in turn, so that the load of one does not delay the others by its length."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from service.domain.errors import BusyError

Item = TypeVar("Item")

_JUST_LONGER: Final = 1
"""A queue that is longer by no more than this keeps its items: the two would only change places."""


class TenantQueue(Generic[Item]):
    """A bounded queue: tenants in turn, and the items of one tenant in their order.

    Args:
        limit: how many items of all tenants may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._length = 0
        # Only queues that hold an item, and their tenants in the order of their turns.
        self._queues: dict[int, deque[Item]] = {}
        self._turns: deque[int] = deque()

    def __len__(self) -> int:
        return self._length

    def put(self, tenant: int, item: Item) -> Item | None:
        """Add an item; returns the item that is removed for it, or None while the queue is not full.

        The removed item is the newest of the tenant that has the most.

        Raises:
            BusyError: the queue is full, and this tenant has as many items in it as any other.
        """
        removed = self._make_room(tenant) if self._length >= self._limit else None
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            self._turns.append(tenant)
        queue.append(item)
        self._length += 1
        return removed

    def take(self) -> Item:
        """Remove the next item of the tenant whose turn it is; the queue is not empty."""
        tenant = self._turns[0]
        queue = self._queues[tenant]
        item = queue.popleft()
        self._length -= 1
        if not queue:
            del self._queues[self._turns.popleft()]
        elif len(self._turns) > 1:
            self._turns.rotate(-1)
        return item

    def _make_room(self, tenant: int) -> Item:
        longest = max(self._queues.values(), key=len)
        if len(longest) - len(self._queues.get(tenant, ())) <= _JUST_LONGER:
            raise BusyError(f"{self._limit} calls are waiting")
        self._length -= 1
        return longest.pop()


class TenantSlots:
    """Slots for work that runs at the same time; tenants wait for one in turn.

    Args:
        slots: how much work may run at the same time.
        waiting: how much may wait.
        seconds: how long each may wait.
    """

    def __init__(self, *, slots: int, waiting: int, seconds: float) -> None:
        self._free = slots
        self._seconds = seconds
        self._waiting = TenantQueue[asyncio.Future[None]](waiting)

    @asynccontextmanager
    async def slot(self, tenant: int) -> AsyncIterator[None]:
        """Hold a slot for the time of the block.

        Raises:
            BusyError: no slot was free in time, or too much work waits, most of it of this tenant.
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
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        removed = self._waiting.put(tenant, turn)
        if removed is not None and not removed.done():
            removed.set_exception(BusyError("calls of other tenants are waiting"))
        try:
            async with asyncio.timeout(self._seconds):
                await self._handed_over(turn)
        except TimeoutError:
            raise BusyError(f"no slot was free within {self._seconds:g} s") from None

    async def _handed_over(self, turn: "asyncio.Future[None]") -> None:
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()  # the slot was handed over at the same time
            raise

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.take()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
