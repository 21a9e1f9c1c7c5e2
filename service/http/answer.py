"""An answer that is known whole before any of it is sent."""

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

_NO_CONTENT: Final = 204
"""Has no body, and so no length of one: RFC 9110, section 8.6."""


class Answer(web.StreamResponse):
    """Status, headers and body, which leave together.

    The library's own answer can also be compressed, sent in chunks and watched by signals, for which every answer
    pays: putting its head together took four times as long, and a tenth of all the time of a read.

    Args:
        usual: headers as they are sent, each with its line end; `headers` holds those that come besides.
        body: all of it.
        status: the HTTP status.
    """

    def __init__(self, usual: str, body: bytes = b"", *, status: int = 200) -> None:
        super().__init__(status=status)
        self._usual = usual
        self._whole_body = body
        self._kept = False

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection goes on after it."""
        return self._kept

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, and wait while the connection takes no more.

        Raises:
            ValueError: one of the headers has a line end in it.
        """
        self._kept = request.keep_alive and super().keep_alive is not False
        head = self._head(is_newer=request.version >= HttpVersion11)
        await request.writer.write_eof(head if request.method == "HEAD" else head + self._whole_body)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: all of it has been sent."""

    def _head(self, *, is_newer: bool) -> bytes:
        own = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        if not own.count("\r") == own.count("\n") == len(self.headers):
            raise ValueError("a header with a line end in it")
        if self.status != _NO_CONTENT:
            own += f"Content-Length: {len(self._whole_body)}\r\n"
        if self._kept is not is_newer:  # each version has its habit: RFC 9112, section 9.3
            own += f"Connection: {'keep-alive' if self._kept else 'close'}\r\n"
        version = "1.1" if is_newer else "1.0"
        date = _date(int(time.time()))
        return (
            f"HTTP/{version} {self.status} {self.reason}\r\n{self._usual}{own}Date: {date}\r\n\r\n".encode()
        )


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """A time, in seconds since 1970, as HTTP writes it."""
    return formatdate(second, usegmt=True)
