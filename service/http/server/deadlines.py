"""The bound on a request's time: one sweeper for all, instead of a timer for each."""

import asyncio
import time
from typing import Any, Final

_SWEEP_EVERY: Final = 0.25
"""Seconds between two looks; a request may take that much longer than its time."""


class Deadlines:
    """Cancels requests whose time is over; ``seconds`` is the same for all, so the oldest stands first."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._over: set[asyncio.Task[Any]] = set()

    def begin(self, task: asyncio.Task[Any]) -> None:
        """The request that ``task`` answers begins."""
        self._ends[task] = time.monotonic() + self.seconds

    def end(self, task: asyncio.Task[Any]) -> bool:
        """The request is answered; returns whether its time was over, in which case its cancellation is undone."""
        self._ends.pop(task, None)
        if task not in self._over:
            return False
        self._over.discard(task)
        task.uncancel()
        return True

    async def sweep(self) -> None:
        """Cancel what is over, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            now = time.monotonic()
            for task in [task for task, end in self._ends.items() if end <= now]:
                del self._ends[task]
                self._over.add(task)
                task.cancel()
