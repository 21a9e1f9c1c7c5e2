"""Waits until everything that was in the topic at the time of a call has been applied."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

Offsets = Mapping[int, int]
"""Offsets by the number of the partition."""


class CatchUp:
    """Callers that wait for the end offsets of the time of their call.

    One request for the end offsets is in progress at a time. It serves all callers that came before it was sent;
    later callers share the next one.

    Args:
        request_ends: requests the end offsets of all partitions.
        is_applied: returns whether all records before the given offsets have been applied.
    """

    def __init__(self, request_ends: Callable[[], Awaitable[Offsets]], is_applied: Callable[[Offsets], bool]) -> None:
        self._request_ends = request_ends
        self._is_applied = is_applied
        self._current: asyncio.Task[Offsets] | None = None
        self._next: asyncio.Task[Offsets] | None = None
        self._waiting: dict[asyncio.Future[None], Offsets] = {}

    async def wait(self) -> None:
        """Return when everything that was in the topic at the time of this call has been applied.

        Raises:
            KafkaError: the end offsets cannot be requested.
            TimeoutError: Kafka did not respond.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._request(self._current))
            self._next.add_done_callback(_retrieve)
        ends = await asyncio.shield(self._next)
        if self._is_applied(ends):
            return
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[applied] = ends
        try:
            await applied
        finally:
            self._waiting.pop(applied, None)

    async def _request(self, previous: asyncio.Task[Offsets] | None) -> Offsets:
        if previous is not None:
            await asyncio.wait([previous])
        self._current, self._next = self._next, None
        return await self._request_ends()

    def wake(self) -> None:
        """Wake the callers whose offsets have been applied; called after each application of records."""
        for applied, ends in list(self._waiting.items()):
            if not applied.done() and self._is_applied(ends):
                applied.set_result(None)


def _retrieve(task: asyncio.Task[Offsets]) -> None:
    """Mark the exception as retrieved: all callers may have stopped waiting."""
    if not task.cancelled():
        task.exception()
