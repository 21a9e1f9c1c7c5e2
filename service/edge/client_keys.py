"""The keys that the edge knows, and what it needs of their states."""

import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple, Protocol

import orjson

from projectkeys_consumer import NotReadyError

EXPIRY_TOLERANCE: Final = 5.0
"""Seconds after its expiry until a key is refused by this process's clock. The service disables expired keys by the
clock of the database within 1 s; a clock that is fast by less than this refuses no live key."""

_CACHED_KEYS: Final = 16_384
"""Decoded keys that are kept, the most recently used: about 8 MB."""


class KeySource(Protocol):
    """The part of `projectkeys_consumer.ProjectKeys` that the edge uses."""

    @property
    def is_complete(self) -> bool:
        """Whether lookups are possible."""

    def value(self, public_key: str) -> bytes | None:
        """Return the value of a key's newest record; None if the key does not exist."""

    def version(self, public_key: str) -> int:
        """Return the newest known version of a key, also of a deleted one; 0 if none is known."""

    async def catch_up(self, max_wait: float, /) -> None:
        """Wait until everything that was in the topic at the time of this call has been applied."""

    async def wait_for(self, public_key: str, version: int, max_wait: float, /) -> object:
        """Wait for a version of a key."""


class ClientKey(NamedTuple):
    """The members of a key's state that decide about its events.

    ``key_id`` is None if the newest event of the key is of a release that did not publish it. ``limit`` and
    ``window``: at most this many events in so many seconds; None: no limit. ``expires_at``: Unix time in seconds.
    """

    public_key: str
    key_id: int | None
    project_id: int
    organization_id: int
    is_active: bool
    limit: int | None
    window: int
    expires_at: float


@lru_cache(maxsize=_CACHED_KEYS)
def decode_key(value: bytes) -> ClientKey:
    """Decode the value of a record, which the consumer kit has validated."""
    state = orjson.loads(value)
    rate_limit, expires_at = state["rateLimit"], state.get("expiresAt")
    return ClientKey(  # the fields without their names, which would take a third of the time
        state["id"],
        state.get("keyId"),
        state["projectId"],
        state["organizationId"],
        state["isActive"],
        rate_limit and rate_limit["count"],
        rate_limit["window"] if rate_limit else 0,
        inf if expires_at is None else datetime.fromisoformat(expires_at).timestamp(),
    )


class ClientKeys:
    """The known keys.

    Args:
        source: The copy of the topic.
        clock: Returns seconds since 1970.
    """

    def __init__(self, source: KeySource, *, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock

    @property
    def loaded(self) -> bool:
        """Whether all keys that existed at the start, or those of a snapshot, are known."""
        return self._source.is_complete

    def find(self, public_key: str) -> ClientKey | None:
        """Return a key; None if it is deleted or not known, as every key before `loaded`."""
        try:
            value = self._source.value(public_key)
        except NotReadyError:
            return None
        return None if value is None else decode_key(value)

    def is_unknown(self, public_key: str) -> bool:
        """Return whether no event of the key is known, not even its deletion."""
        return self._source.version(public_key) == 0

    def accepts(self, key: ClientKey) -> bool:
        """Return whether the key is active and has not expired."""
        return key.is_active and self._clock() < key.expires_at + EXPIRY_TOLERANCE
