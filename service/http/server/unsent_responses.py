"""Responses that clients do not read: a deadline for each and a limit for all of them.

aiohttp waits for such a client without a limit and keeps the response in memory meanwhile.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

LARGE: Final = 32 * 1024
"""Bytes of a response above which its size is counted; smaller ones count as this, which their connection needs."""

_SHARED_PART: Final = 4
"""Small and constant responses, which need no token, may use one part in this many of the limit."""


class UnsentConnection:
    """A connection whose client may not read the response.

    ``response_size``: bytes of the response being written that only the connection keeps in memory; 0 for a small or
    a constant response.
    """

    __slots__ = ()
    response_size: int

    def abort(self) -> None:
        """Close the connection at once and discard what is unsent."""
        raise NotImplementedError


class UnsentResponses:
    """Limits the responses that the kernel has not taken because their clients do not read.

    When the limit is exceeded, the connection whose response has been unsent for longest is aborted.

    Args:
        limit: Bytes of all responses.
        timeout: Seconds for each response.
        on_abort: Is called with the exceeded limit for each aborted connection.
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
        """Count the response that ``connection`` is sending."""
        group, size = self._small, LARGE
        if connection.response_size:
            group, size = self._large, max(connection.response_size, LARGE)
        timer = asyncio.get_running_loop().call_later(self._timeout, self._abort, connection, "send_timeout")
        group.members[connection] = (size, timer)
        group.size += size
        while group.size > group.limit:
            self._abort(next(iter(group.members)), "unsent_limit")

    def remove(self, connection: UnsentConnection) -> None:
        """Stop counting the response of ``connection``; ignore it if it is not counted."""
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
    """Connections with their sizes and timers; the one that has been unsent for longest is the first."""

    limit: int
    size: int = 0
    members: dict[UnsentConnection, tuple[int, asyncio.TimerHandle]] = field(default_factory=dict)
