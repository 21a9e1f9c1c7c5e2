"""Responses that clients do not read: a deadline for each of them and a bound for all.

The library waits for such a client without end, and keeps the response in memory meanwhile.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import structlog
from aiohttp import web

_log = structlog.get_logger(__name__)

LARGE: Final = 32 * 1024
"""Bytes of a response from which its size is counted; smaller ones count as this, which their connection needs."""

_SHARED_PART: Final = 4
"""Small responses and constant pages, which need no token, have this part of the limit; large ones have the rest."""

_KERNEL_UNSENT: Final = 64 * 1024
"""Bytes that the kernel takes before it has sent them; without a bound it takes megabytes for each connection."""

_KERNEL_UNREAD: Final = 32 * 1024
"""Bytes that the kernel receives ahead, which is also what one read can bring; it doubles this for its own use."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: close without sending what is left. The kernel would keep it for minutes."""


class Connection(web.RequestHandler):
    """A client's connection that holds at most one response which the kernel has not taken."""

    __slots__ = ("_unsent", "response_size")

    def __init__(
        self,
        server: web.Server,
        unsent: "UnsentResponses",
        *,
        loop: asyncio.AbstractEventLoop,
        **options: object,
    ) -> None:
        super().__init__(server, loop=loop, **options)  # type: ignore[arg-type]  # -- what AppRunner received
        self._unsent = unsent
        self.response_size = 0
        """Bytes of the response being written that it alone keeps in memory; 0 for small and for constant ones."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound what the transport and the kernel keep of each direction."""
        cast("asyncio.WriteTransport", transport).set_write_buffer_limits(
            high=0
        )  # pause unless all was taken
        kernel = transport.get_extra_info("socket")
        kernel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _KERNEL_UNSENT)
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_UNREAD)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """Count the response as unsent, and read no further requests until it is sent."""
        super().pause_writing()
        self._pause_transport_reading()
        self._unsent.add(self, self.response_size)

    def resume_writing(self) -> None:
        """Count the response as sent."""
        self._unsent.remove(self)
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget its response."""
        self._unsent.remove(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """End the connection at once, with all that is unsent."""
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class UnsentResponses:
    """Responses that the kernel has not taken whole, because their clients do not read.

    Each has the same time; beyond the limit, the one that has been unsent for longest is aborted.

    Args:
        limit: bytes of all of them.
        timeout: seconds for each.
        on_abort: called with the reason for each connection that is aborted.
    """

    def __init__(self, limit: int, timeout: float, on_abort: Callable[[str], None]) -> None:
        self._timeout = timeout
        self._on_abort = on_abort
        self._own = _Group(limit - limit // _SHARED_PART)
        self._shared = _Group(limit // _SHARED_PART)

    def __len__(self) -> int:
        return len(self._own.members) + len(self._shared.members)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return self._own.size + self._shared.size

    def add(self, connection: Connection, size: int) -> None:
        """Count the response of ``connection``, of ``size`` bytes; 0 for a small or a constant one."""
        group, counted = (self._own, max(size, LARGE)) if size else (self._shared, LARGE)
        timer = asyncio.get_running_loop().call_later(self._timeout, self._abort, connection, "send_timeout")
        group.members[connection] = (counted, timer)
        group.size += counted
        while group.size > group.limit:
            self._abort(next(iter(group.members)), "unsent_limit")

    def remove(self, connection: Connection) -> None:
        """Count it no longer; nothing if it is not counted."""
        for group in (self._own, self._shared):
            if connection in group.members:
                size, timer = group.members.pop(connection)
                group.size -= size
                timer.cancel()

    def _abort(self, connection: Connection, reason: str) -> None:
        self.remove(connection)
        connection.abort()
        self._on_abort(reason)
        _log.info("response_aborted", reason=reason)


@dataclass(slots=True)
class _Group:
    """Connections, the one that has been unsent for longest first, with what each counts."""

    limit: int
    size: int = 0
    members: dict[Connection, tuple[int, asyncio.TimerHandle]] = field(default_factory=dict)
