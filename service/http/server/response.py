"""Responses whose head and body are complete before the first byte is sent, and the format of header lines."""

import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Any, Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from service.domain.errors import ProjectKeyError
from service.http.errors import HttpError, from_domain_error
from service.http.server.unsent_responses import LARGE, UnsentConnection
from service.json_text import dump_json

COMMON_HEADERS: Final = {
    "Content-Language": "en",
    "Vary": "Accept-Language, Cookie",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "X-XSS-Protection": "1; mode=block",
    "Cache-Control": "no-store",
    "Server": "projectkeys",
}
"""The headers of all responses; those of constant pages differ in Cache-Control and Vary."""

_WITHOUT_LENGTH: Final = frozenset({204, 304})
"""Statuses without a Content-Length: 204 has no body, and in a 304 it would be the length of the 200 response
(RFC 9110, section 8.6)."""

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


def header_lines(headers: Mapping[str, str]) -> str:
    """Return ``headers`` as they are sent, each line with its CR LF.

    Raises:
        ValueError: A name or a value contains a character that cannot be printed. A client would read the text after
            a line end as another header or another response.
    """
    lines = ""
    for name, value in headers.items():
        line = f"{name}: {value}"
        if not line.isprintable():
            raise ValueError("a header contains a character that cannot be printed")
        lines += f"{line}\r\n"
    return lines


class Response(web.StreamResponse):
    """A status, header lines and a body, sent in one piece.

    aiohttp calls ``prepare``, then ``write_eof``, which awaits ``after_send``, and then handles the next request of
    the connection if ``keep_alive`` is true. It uses nothing else of the base class, whose constructor is not called
    because it creates headers and a state.

    Args:
        headers: Lines from `header_lines`; more of them may be added to the attribute ``header_lines``.
        body: The whole body.
        status: The HTTP status.
        is_constant: The process keeps ``body`` permanently, so an unread response needs no further memory.
    """

    status: int = 200
    keep_alive: bool = True
    media_type: str = "application/json"  # which an Accept header must permit

    def __init__(self, headers: str, body: bytes = b"", *, status: int = 200, is_constant: bool = False) -> None:
        self.status = status
        self.header_lines = headers
        self._response_body = body
        self._is_constant = is_constant
        self.after_send: Callable[[], Awaitable[None]] | None = None

    def force_close(self) -> None:
        """Close the connection after this response."""
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the response; wait while the client does not read."""
        self.keep_alive = self.keep_alive and request.keep_alive
        writer = request.writer
        length = "" if self.status in _WITHOUT_LENGTH else f"Content-Length: {len(self._response_body)}\r\n"
        head = self._head(request, length)
        if request.method == "HEAD":
            await writer.write_eof(head)
        elif len(self._response_body) < LARGE:
            await writer.write_eof(head + self._response_body)
        else:
            await self._write_large(request, head)
        return writer

    def _head(self, request: web.BaseRequest, length: str) -> bytes:
        """Return the head; ``length`` is the line of Content-Length or empty."""
        status, version, connection = self.status, "1.1", "" if self.keep_alive else "Connection: close\r\n"
        if request.version < HttpVersion11:
            version = "1.0"
            if self.keep_alive:  # HTTP/1.0 closes by default: RFC 9112, section 9.3
                connection = "Connection: keep-alive\r\n"
        return (
            f"HTTP/{version} {status} {_REASONS.get(status, '')}\r\n"
            f"{self.header_lines}{length}{connection}Date: {_http_date(int(time.time()))}\r\n\r\n"
        ).encode()

    async def _write_large(self, request: web.BaseRequest, head: bytes) -> None:
        """Send the head and the body separately: joined, the body would be in memory twice until it is sent."""
        connection = request.protocol
        if isinstance(connection, UnsentConnection):
            connection.response_size = 0 if self._is_constant else len(self._response_body)
        try:
            await request.writer.write(head)
            await request.writer.write_eof(self._response_body)
        finally:
            if isinstance(connection, UnsentConnection):
                connection.response_size = 0

    async def write_eof(self, data: bytes = b"") -> None:
        """Await ``after_send``; ``prepare`` has already sent the whole response."""
        del data
        if self.after_send is not None:
            await self.after_send()


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    """Return ``second``, in seconds since 1970, in the format of the header Date."""
    return formatdate(second, usegmt=True)


@cache  # needs no limit: there are few media types
def common_header_lines(content_type: str) -> str:
    """Return the lines of `COMMON_HEADERS` and of the media type; "" omits the latter."""
    return header_lines({**COMMON_HEADERS, "Content-Type": content_type} if content_type else COMMON_HEADERS)


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with ``body`` as compact JSON; the other arguments are those of `bytes_response`."""
    return bytes_response(dump_json(body), status=status, headers=headers)


def bytes_response(
    body: bytes,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Response:
    """Return a response with serialized content.

    Args:
        body: The content.
        status: The HTTP status.
        headers: Further headers, other than `COMMON_HEADERS`.
        content_type: The media type; "" omits the header, for a response without content.
    """
    lines = common_header_lines(content_type)
    return Response(lines + header_lines(headers) if headers else lines, body, status=status)


def empty_response(*, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response without content; the arguments are those of `bytes_response`."""
    return bytes_response(b"", status=status, headers=headers, content_type="")


def error_response(error: HttpError | ProjectKeyError) -> Response:
    """Return the response to a request that failed with ``error``."""
    http_error = error if isinstance(error, HttpError) else from_domain_error(error)
    response = json_response(http_error.body, status=http_error.status, headers=http_error.headers)
    if http_error.closes_connection:
        response.force_close()
    return response
