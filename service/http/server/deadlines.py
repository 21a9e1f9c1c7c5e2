"""The deadline of each request: one periodic check instead of a timer per request."""

import asyncio
import time
from typing import Any, Final

_INTERVAL: Final = 0.25
"""Seconds between two checks; a request can take that much longer than its timeout."""


class Deadlines:
    """Cancels the tasks of requests that take longer than ``timeout`` seconds.

    The timeout is the same for all requests, so the task with the next deadline is the first.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._cancelled: set[asyncio.Task[Any]] = set()

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Start the timeout of the request that ``task`` handles."""
        self._deadlines[task] = time.monotonic() + self._timeout

    def end(self, task: asyncio.Task[Any]) -> bool:
        """End the timeout; return whether it cancelled the task, and undo that cancellation."""
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
