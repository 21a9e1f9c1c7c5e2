"""Answers of the database that stay good for a few seconds."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class TtlCache(Generic[Key, Value]):
    """Keeps values for a time; when full, the oldest goes.

    Args:
        seconds: how long a value is good.
        most: how many are kept.
        clock: seconds that only grow.
    """

    def __init__(self, *, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._values: dict[Key, tuple[float, Value]] = {}

    def get(self, key: Key) -> Value | None:
        """The value of ``key`` if it is still good."""
        kept = self._values.get(key)
        if kept is None:
            return None
        until, value = kept
        if until > self._clock():
            return value
        del self._values[key]
        return None

    def put(self, key: Key, value: Value) -> None:
        """Keep ``value`` from now on."""
        self._values.pop(key, None)
        if len(self._values) >= self._most:
            del self._values[next(iter(self._values))]
        self._values[key] = (self._clock() + self._seconds, value)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
