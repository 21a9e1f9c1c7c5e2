"""The deadline of each request, enforced by one periodic check instead of a timer per request."""

import asyncio
import time
from typing import Any, Final

_INTERVAL: Final = 0.25
"""Seconds between two checks; a request can exceed its timeout by as much."""


class Deadlines:
    """The deadlines of requests, ``timeout`` seconds after their start; later, their tasks are cancelled."""

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
            await asyncio.sleep(_INTERVAL)
            now = time.monotonic()
            for task in [task for task, deadline in self._deadlines.items() if deadline <= now]:
                del self._deadlines[task]
                self._cancelled.add(task)
                task.cancel()
