"""A cache of values derived from a source that is read again for every use."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Name = TypeVar("Name")
Source = TypeVar("Source")
Value = TypeVar("Value")


class DerivedCache(Generic[Name, Source, Value]):
    """Caches the value derived from the last source of each name.

    An entry is used if its source equals the source that the caller passes; otherwise it is replaced. So a value is
    never older than its source, and equal sources yield the same object. When the cache is full, the oldest entry is
    removed.

    Args:
        derive: Derives a value from a source.
        max_size: Maximum number of entries.
    """

    def __init__(self, derive: Callable[[Source], Value], *, max_size: int) -> None:
        self._derive = derive
        self._max_size = max_size
        # To remove the first item of a dict passes every item that was removed before.
        self._entries: OrderedDict[Name, tuple[Source, Value]] = OrderedDict()

    def get(self, name: Name, source: Source) -> Value:
        """Return the value derived from ``source``, the current source of ``name``."""
        entry = self._entries.get(name)
        if entry is not None and entry[0] == source:
            return entry[1]
        value = self._derive(source)
        if entry is None and len(self._entries) >= self._max_size:
            self._entries.popitem(last=False)
        self._entries[name] = (source, value)
        return value
