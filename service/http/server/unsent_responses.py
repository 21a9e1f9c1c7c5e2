"""The deadline of each response that its client does not read, and the limit on all such responses.

aiohttp has no timeout for such a client and keeps the response in memory.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

LARGE: Final = 32 * 1024
"""Bytes from which a response is large and counts by size; others count as this many, the memory of their
connection."""

_SHARED_PART: Final = 4
"""The divisor of the limit: small and constant responses, which clients without a token receive too, may use a
quarter, so that they cannot displace the others."""


class UnsentConnection:
    """A connection whose client may fail to read the response.

    ``response_size``: bytes of a large response that is in memory only until it is sent; 0 for a small or a constant
    response.
    """

    __slots__ = ()
    response_size: int

    def abort(self) -> None:
        """Close the connection immediately and discard unsent bytes."""
        raise NotImplementedError


class UnsentResponses:
    """A limit on the responses that the kernel has not accepted because their clients do not read.

    When the limit is exceeded, the connection whose response has been unsent for longest is aborted.

    Args:
        limit: Bytes of all responses.
        timeout: Seconds for each response.
        on_abort: Called for each aborted connection with "send_timeout" or "unsent_limit", whichever was exceeded.
    """

    def __init__(self, limit: int, timeout: float, on_abort: Callable[[str], None]) -> None:
        self._timeout = timeout
        self._on_abort = on_abort
        self._large = _Group(limit - limit // _SHARED_PART)
        self._small = _Group(limit // _SHARED_PART)

    def __len__(self) -> int:
        return len(self._large.members) + len(self._small.members)

    @property
    def size(self) -> int:
        """The bytes of all responses."""
        return self._large.size + self._small.size

    def add(self, connection: UnsentConnection) -> None:
        """Count the response of ``connection`` until `remove`."""
        group, size = self._small, LARGE
        if connection.response_size:
            group, size = self._large, max(connection.response_size, LARGE)
        timer = asyncio.get_running_loop().call_later(self._timeout, self._abort, connection, "send_timeout")
        group.members[connection] = (size, timer)
        group.size += size
        while group.size > group.limit:
            self._abort(next(iter(group.members)), "unsent_limit")

    def remove(self, connection: UnsentConnection) -> None:
        """Stop counting the response of ``connection``; do nothing if it is not counted."""
        for group in (self._large, self._small):
            if connection in group.members:
                size, timer = group.members.pop(connection)
                group.size -= size
                timer.cancel()

    def _abort(self, connection: UnsentConnection, reason: str) -> None:
        self.remove(connection)
        connection.abort()
        self._on_abort(reason)
        _log.info("response_aborted", reason=reason)


@dataclass(slots=True)
class _Group:
    """Connections with their sizes and timers; the first has waited for its client for the longest time."""

    limit: int
    size: int = 0
    members: dict[UnsentConnection, tuple[int, asyncio.TimerHandle]] = field(default_factory=dict)
