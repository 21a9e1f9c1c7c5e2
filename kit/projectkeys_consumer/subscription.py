"""Calls one callback for each key that changes."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from projectkeys_consumer.backoff import Backoff
from projectkeys_consumer.state import Change

_log = logging.getLogger(__name__)


class Subscription:
    """A callback and the queue of changed keys that it has not processed yet.

    A key is in the queue at most once, however often it changes, so the queue is limited by the number of keys. A
    slow callback skips versions; it never gets an older version after a newer one.

    Args:
        callback: called with one change at a time; a call that raises is repeated.
        read_change: returns the current state of a key.
        include_existing: whether the keys that are known at the start are queued, too.
    """

    def __init__(
        self,
        callback: Callable[[Change], Awaitable[None]],
        read_change: Callable[[bytes], Change],
        *,
        include_existing: bool,
    ) -> None:
        self._callback = callback
        self._read_change = read_change
        self._queue: deque[bytes] = deque()
        self._queued: set[bytes] = set()
        self._not_empty = asyncio.Event()
        self.include_existing = include_existing

    def add(self, keys: Iterable[bytes]) -> None:
        """Queue changed keys."""
        for key in keys:
            if key not in self._queued:
                self._queued.add(key)
                self._queue.append(key)
        if self._queue:
            self._not_empty.set()

    async def run(self) -> None:
        """Call the callback for each queued key, until cancelled."""
        backoff = Backoff()
        while True:
            await self._not_empty.wait()
            key = self._queue.popleft()
            self._queued.discard(key)
            if not self._queue:
                self._not_empty.clear()
            if await self._call(key):
                backoff.reset()
                await asyncio.sleep(0)  # a callback that never waits must not block the event loop
                continue
            self.add([key])  # at the end, so that a key whose callback always fails does not block the others
            await backoff.wait()

    async def _call(self, key: bytes) -> bool:
        """Call the callback; return whether it succeeded."""
        try:
            await self._callback(self._read_change(key))
        except Exception:  # noqa: BLE001 -- the callback is user code; any failure is logged and retried
            _log.exception("The callback failed for the key %s; it is retried", key.hex())
            return False
        return True
