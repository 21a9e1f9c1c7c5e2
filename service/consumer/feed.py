"""Tells somebody of keys that changed: one at a time, each as it is when its turn comes."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from service.consumer.state import Change

_log = logging.getLogger(__name__)

_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0
_DOUBLINGS: Final = 6
"""Seconds to wait after a failure and at most, and how often the first doubles until then."""


class Feed:
    """A callback and the keys that it is still to be told of.

    A key waits once, however often it changes: who is slow skips versions and never gets an old one after a new one.
    So what waits is bounded by the number of keys.

    Args:
        callback: is told, again and again until it does not raise.
        look: gives a key as it is now.
        everything: whether every key that is known at first counts as changed.
    """

    def __init__(
        self,
        callback: Callable[[Change], Awaitable[None]],
        look: Callable[[bytes], Change],
        *,
        everything: bool,
    ) -> None:
        self._callback = callback
        self._look = look
        self._queue: deque[bytes] = deque()
        self._waiting: set[bytes] = set()
        self._woken = asyncio.Event()
        self.everything = everything

    def add(self, keys: Iterable[bytes]) -> None:
        """These keys have changed."""
        for key in keys:
            if key not in self._waiting:
                self._waiting.add(key)
                self._queue.append(key)
        if self._queue:
            self._woken.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        failures = 0
        while True:
            await self._woken.wait()
            key = self._queue.popleft()
            self._waiting.discard(key)
            if not self._queue:
                self._woken.clear()
            if await self._told(key):
                failures = 0
                await asyncio.sleep(
                    0
                )  # a callback that never waits must not keep everybody else from running
                continue
            self.add([key])  # behind the others: one that always fails must not keep them waiting
            longest = min(_FIRST_BACKOFF * 2**failures, _LONGEST_BACKOFF)
            failures = min(failures + 1, _DOUBLINGS)
            await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 -- spreads retries, hides nothing

    async def _told(self, key: bytes) -> bool:
        try:
            await self._callback(self._look(key))
        except Exception:  # noqa: BLE001 -- whatever it is, the key has to be told again
            _log.exception("A callback failed for the key %s; it will be told again", key.hex())
            return False
        return True
