"""A limit of blocks in which tenants take turns, so that the load of a tenant does not delay the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.concurrency.batcher import TenantQueue
from service.domain.errors import BusyError


class TenantSlots:
    """A limit of the blocks that run at the same time; tenants that wait take turns.

    Args:
        slots: Maximum number of blocks that run at the same time.
        max_waiting: Maximum number of blocks that wait for a slot.
        max_wait: Maximum time that a block waits, in seconds.
    """

    def __init__(self, *, slots: int, max_waiting: int, max_wait: float) -> None:
        self._free = slots
        self._max_waiting = max_waiting
        self._max_wait = max_wait
        self._waiters = TenantQueue[asyncio.Future[None]](max_waiting)

    def with_slots(self, slots: int) -> "TenantSlots":
        """Return another limit, of ``slots`` blocks, with the same bounds of waiting."""
        return TenantSlots(slots=slots, max_waiting=self._max_waiting, max_wait=self._max_wait)

    @property
    def has_free(self) -> bool:
        """Whether a block does not wait."""
        return self._free > 0

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
