"""Callers that wait for a version of a key."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable


class Waiting:
    """Wakes those whose version has come.

    Args:
        version: gives the version of a key that is held, 0 for none.
    """

    def __init__(self, version: Callable[[bytes], int]) -> None:
        self._version = version
        self._futures: dict[bytes, set[asyncio.Future[None]]] = defaultdict(set)

    async def until(self, key: bytes, version: int) -> None:
        """Return when ``version`` of ``key``, or a newer one, is held."""
        while self._version(key) < version:
            future = asyncio.get_running_loop().create_future()
            self._futures[key].add(future)
            try:
                await future
            finally:
                self._forget(key, future)

    def _forget(self, key: bytes, future: asyncio.Future[None]) -> None:
        self._futures[key].discard(future)
        if not self._futures[key]:
            del self._futures[key]

    def wake(self, keys: Iterable[bytes] | None) -> None:
        """Another version of these keys may be held; None: of any."""
        if not self._futures:
            return
        for key in list(self._futures) if keys is None else keys:
            for future in self._futures.get(key, ()):
                if not future.done():
                    future.set_result(None)
