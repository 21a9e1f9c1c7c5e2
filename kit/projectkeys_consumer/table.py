"""An in-memory table with the newest version of each key.

A key takes about 200 bytes plus its encoded value of about 430 bytes, which is decoded at each lookup. Keys and
values are bytes, which the garbage collector does not traverse.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from projectkeys_consumer.records import KeyUpdate
from projectkeys_consumer.state import KeyState, decode_state

_VERSION: Final = struct.Struct(">Q")
"""Precedes each value."""

MAX_DELETED: Final = 100_000
"""Versions of deleted keys to keep, the latest deletions: an older event of a deleted key must not restore it.

An older event that comes after the deletion is a duplicate, which follows the original within some thousand records.
"""


class KeyTable:
    """The newest version of each key.

    Args:
        states: version and value of each existing key.
        deleted: versions of the deleted keys, the oldest deletion first.
        shared_with: a table whose equal values are used instead of a second copy.
    """

    def __init__(
        self,
        states: dict[bytes, bytes] | None = None,
        deleted: Mapping[bytes, int] | None = None,
        *,
        shared_with: "KeyTable | None" = None,
    ) -> None:
        self.states = {} if states is None else states
        self._deleted = OrderedDict(deleted or {})
        self._shared: dict[bytes, bytes] = {} if shared_with is None else shared_with.states

    def __len__(self) -> int:
        return len(self.states)

    def apply(self, update: KeyUpdate) -> bool:
        """Apply an update if its version is newer; return whether it was."""
        key, version, value = update
        if version <= self.version(key):
            return False
        if value is None:
            self._delete(key, version)
        else:
            self._deleted.pop(key, None)
            state = _VERSION.pack(version) + value
            if self._shared.get(key) == state:
                state = self._shared[key]
            self.states[key] = state
        return True

    def _delete(self, key: bytes, version: int) -> None:
        self.states.pop(key, None)
        self._deleted[key] = version
        self._deleted.move_to_end(key)
        if len(self._deleted) > MAX_DELETED:
            self._deleted.popitem(last=False)

    def version(self, key: bytes) -> int:
        """Return the newest known version of a key, also of a deleted one; 0 if none is known."""
        state = self.states.get(key)
        if state is None:
            return self._deleted.get(key, 0)
        version: int = _VERSION.unpack_from(state)[0]
        return version

    def get(self, key: bytes) -> KeyState | None:
        """Return the state of a key; None if it does not exist."""
        value = self.value(key)
        return None if value is None else decode_state(value)

    def value(self, key: bytes) -> bytes | None:
        """Return the undecoded state of a key; None if it does not exist."""
        state = self.states.get(key)
        return None if state is None else state[_VERSION.size :]

    def existing_keys(self) -> list[bytes]:
        """Return the keys that exist."""
        return list(self.states)

    def known_keys(self) -> list[bytes]:
        """Return the keys whose version is known, including deleted ones."""
        return [*self.states, *self._deleted]

    def release_shared(self) -> None:
        """Drop the reference to the table that values are shared with."""
        self._shared = {}

    def differences(self, other: "KeyTable") -> Iterator[bytes]:
        """Yield the keys whose states differ between the two tables."""
        for key, state in self.states.items():
            if other.states.get(key) != state:
                yield key
        yield from other.states.keys() - self.states.keys()

    def copy_content(self) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
        """Copy states and deleted versions, for use in another thread; takes 10 ms for a million keys."""
        return self.states.copy(), dict(self._deleted)
