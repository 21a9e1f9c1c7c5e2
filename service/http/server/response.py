"""An answer that is known whole before any of it is sent."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from service.http.server.unsent_responses import LARGE, Connection

_WITHOUT_LENGTH: Final = frozenset({204, 304})
"""204 has no body to have a length; that of a 304 would be another answer's: RFC 9110, section 8.6."""


def header_lines(headers: Mapping[str, str]) -> str:
    """``headers`` as they are sent, each with its line end.

    Raises:
        ValueError: one of them has a character that cannot be seen, of which a line end would be the worst: what
            follows it would be another header, or another answer.
    """
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if not "".join(lines).isprintable():
        raise ValueError("a header with a character that cannot be printed")
    return "\r\n".join([*lines, ""])


class Response(web.StreamResponse):
    """Status, headers and body, which leave together.

    The library's own answer can also have cookies, be compressed, sent in chunks and watched by signals, for which
    every answer pays: putting its head together took four times as long, and a tenth of all the time of a read. None
    of that is here; ``headers`` of the base class are not sent. Rests on `finish_response` of aiohttp's connections,
    which calls `prepare` and `write_eof`, and on its writer, which sends what it is given.

    Args:
        headers: lines as `header_lines` makes them.
        body: all of it.
        status: the HTTP status.
        is_constant: the process keeps ``body`` anyway, so that a client that does not read it costs no memory.
    """

    def __init__(
        self, headers: str, body: bytes = b"", *, status: int = 200, is_constant: bool = False
    ) -> None:
        super().__init__(status=status)
        self._lines = headers
        self._whole_body = body
        self._is_constant = is_constant
        self._kept = False

    def add(self, headers: str) -> None:
        """Send these lines, as `header_lines` makes them, too."""
        self._lines += headers

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection goes on after it."""
        return self._kept

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, and wait while the connection takes no more."""
        self._kept = request.keep_alive and super().keep_alive is not False
        head = self._head(is_newer=request.version >= HttpVersion11)
        if request.method == "HEAD":
            await request.writer.write_eof(head)
        elif len(self._whole_body) < LARGE:
            await request.writer.write_eof(head + self._whole_body)
        else:
            await self._write_large(request, head)
        return request.writer

    async def _write_large(self, request: web.BaseRequest, head: bytes) -> None:
        """Send head and body apart: joined they would be a copy, which a client that does not read would keep."""
        connection = request.protocol
        if isinstance(connection, Connection):
            connection.response_size = 0 if self._is_constant else len(self._whole_body)
        try:
            await request.writer.write(head)
            await request.writer.write_eof(self._whole_body)
        finally:
            if isinstance(connection, Connection):
                connection.response_size = 0

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: all of it has been sent."""

    def _head(self, *, is_newer: bool) -> bytes:
        status = self.status
        length = "" if status in _WITHOUT_LENGTH else f"Content-Length: {len(self._whole_body)}\r\n"
        connection = "" if self._kept else "Connection: close\r\n"
        if self._kept and not is_newer:  # HTTP/1.0 does it only when told: RFC 9112, section 9.3
            connection = "Connection: keep-alive\r\n"
        return (
            f"HTTP/{'1.1' if is_newer else '1.0'} {status} {self.reason}\r\n"
            f"{self._lines}{length}{connection}Date: {_date(int(time.time()))}\r\n\r\n"
        ).encode()


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """A time, in seconds since 1970, as HTTP writes it."""
    return formatdate(second, usegmt=True)
