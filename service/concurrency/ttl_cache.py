"""A cache whose entries expire after a fixed time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class TtlCache(Generic[Key, Value]):
    """Caches values for a fixed time; when it is full, the oldest entry is removed.

    Args:
        seconds: Seconds from `put` to expiry; `get` does not extend them.
        max_size: Maximum number of entries.
        clock: Returns monotonic seconds.
    """

    def __init__(self, *, seconds: float, max_size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._max_size = max_size
        self._clock = clock
        # To remove the first item of a dict passes every item that was removed before.
        self._values: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return the value of ``key``, or None if there is none or it has expired."""
        entry = self._values.get(key)
        if entry is None:
            return None
        expires_at, value = entry
        if expires_at > self._clock():
            return value
        del self._values[key]
        return None

    def put(self, key: Key, value: Value) -> None:
        """Store ``value`` in place of an earlier value and its expiry."""
        self._values.pop(key, None)
        if len(self._values) >= self._max_size:
            self._values.popitem(last=False)
        self._values[key] = (self._clock() + self._seconds, value)

    def remove(self, key: Key) -> None:
        """Remove the entry of ``key`` if there is one."""
        self._values.pop(key, None)

    def clear(self) -> None:
        """Remove every entry."""
        self._values.clear()
