"""All keys in memory, each in the newest version that was told: as compact as it can be and still be quick.

A key costs some 200 bytes and its value as it came, some 430; it is decoded when it is asked for. Nothing of it
is an object that the garbage collector has to look at.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from service.consumer.records import Told
from service.consumer.state import KeyState, decode

_VERSION: Final = struct.Struct(">Q")
"""Stands before each value."""

MOST_DELETED: Final = 100_000
"""Deleted keys whose versions are remembered, the latest: an older event of one must not bring it back.

One that comes late can only be a duplicate, which follows what it repeats within some thousands of records; and
what comes late from before that is behind its deletion in the same partition.
"""


class Table:
    """The newest version of each key.

    Args:
        states: version and value of each key that lives.
        deleted: the versions of those that do not, the oldest deletion first.
        like: another table; what is the same in both takes room once.
    """

    def __init__(
        self,
        states: dict[bytes, bytes] | None = None,
        deleted: Mapping[bytes, int] | None = None,
        *,
        like: "Table | None" = None,
    ) -> None:
        self.states = {} if states is None else states
        self._deleted = OrderedDict(deleted or {})
        self._like: dict[bytes, bytes] = {} if like is None else like.states

    def __len__(self) -> int:
        return len(self.states)

    def apply(self, told: Told) -> bool:
        """Hold what was told if it is newer than what is held; whether it was."""
        key, version, value = told
        if version <= self.version(key):
            return False
        if value is None:
            self.states.pop(key, None)
            self._deleted[key] = version
            self._deleted.move_to_end(key)
            if len(self._deleted) > MOST_DELETED:
                self._deleted.popitem(last=False)
        else:
            self._deleted.pop(key, None)
            state = _VERSION.pack(version) + value
            if self._like.get(key) == state:
                state = self._like[key]
            self.states[key] = state
        return True

    def version(self, key: bytes) -> int:
        """The version that is held, of a deletion too; 0 if none is."""
        state = self.states.get(key)
        if state is None:
            return self._deleted.get(key, 0)
        version: int = _VERSION.unpack_from(state)[0]
        return version

    def get(self, key: bytes) -> KeyState | None:
        """The state of a key; None if it does not live."""
        state = self.states.get(key)
        return None if state is None else decode(state[_VERSION.size :])

    def living(self) -> list[bytes]:
        """The keys that live."""
        return list(self.states)

    def known(self) -> list[bytes]:
        """The keys of which a version is held, deleted ones too."""
        return [*self.states, *self._deleted]

    def loaded(self) -> None:
        """Let go of the table that this one was like."""
        self._like = {}

    def differences(self, other: "Table") -> Iterator[bytes]:
        """The keys that do not live alike in both."""
        for key, state in self.states.items():
            if other.states.get(key) != state:
                yield key
        for key in other.states.keys() - self.states.keys():
            yield key

    def copied(self) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
        """States and deleted versions as they are now, to be read by another thread: 10 ms for a million keys."""
        return self.states.copy(), dict(self._deleted)
