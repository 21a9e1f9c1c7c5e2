"""An HTTP/1.1 client over sockets that sends each request once.

HTTP libraries retry some requests without reporting it; with this client the caller knows what was sent and received.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

RESPONSE_TIMEOUT: Final = 14.0
"""Seconds; longer than REQUEST_TIMEOUT, 10 s, and the interval at which the service checks its deadlines."""

_CONNECT_TIMEOUT: Final = 5.0


class NotSentError(Exception):
    """The connection could not be opened: nothing was sent."""


class NoResponseError(Exception):
    """The connection broke or the time-out expired: whether the request was executed is unknown."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded body; an empty dict if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


def request_bytes(
    method: str, path: str, *, token: str = "", body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a request that keeps its connection open; ``body`` is JSON."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class HttpConnection:
    """A connection to a port of this machine, opened on the first request."""

    def __init__(self, port: int, *, response_timeout: float = RESPONSE_TIMEOUT) -> None:
        self._port = port
        self._timeout = response_timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and return the response; ``body`` is sent as JSON unless it is None, bytes as they are.

        Raises:
            NotSentError: Nothing was sent.
            NoResponseError: The request was sent in part or completely.
        """
        reader, writer = await self._connect()
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        try:
            async with asyncio.timeout(self._timeout):
                writer.write(request_bytes(method, path, token=token, body=body, headers=headers))
                response = await read_response(reader)
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            self.close()
            raise NoResponseError(repr(error)) from None
        except BaseException:
            self.close()
            raise
        if response.headers.get("connection") == "close":
            self.close()
        return response

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                raise NotSentError(repr(error)) from None
        return self._streams


async def read_response(reader: asyncio.StreamReader) -> Response:
    """Read one response with a Content-Length.

    Raises:
        OSError: The connection broke.
        EOFError: The response is incomplete.
        ValueError: The bytes are not HTTP.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in filter(None, head[1:]):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Response(int(head[0].split()[1]), headers, body)


async def request(port: int, method: str, path: str, *, token: str = "", body: object = None) -> Response:
    """Send one request on its own connection; raises as `HttpConnection.request` does."""
    connection = HttpConnection(port)
    try:
        return await connection.request(method, path, token=token, body=body)
    finally:
        connection.close()


async def exchange(port: int, raw: bytes, *, timeout: float = RESPONSE_TIMEOUT) -> bytes:
    """Send bytes on their own connection and return everything received until the server closes it.

    Raises:
        TimeoutError: The connection is still open after ``timeout`` seconds.
        OSError: The connection broke.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(timeout):
            writer.write(raw)
            return await reader.read()
    finally:
        writer.close()
