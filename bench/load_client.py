"""An HTTP/1.1 connection for load generators that uses little processor time: one prepared request at a time."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length: "
_STATUS: Final = slice(9, 12)
_UNAVAILABLE: Final = b"503"


class ResponseError(Exception):
    """A response is not the expected one; the text contains what was received."""


def parse_response(received: bytes) -> tuple[bytes, bytes] | None:
    """Return status and body of a response, or None while it is incomplete.

    Args:
        received: Everything received since the request was sent.

    Raises:
        ResponseError: There is no Content-Length, or there is more than one response.
    """
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    length_start = head.find(_LENGTH)
    if length_start < 0:
        raise ResponseError(f"a response without Content-Length: {head!r}")
    length_start += len(_LENGTH)
    line_end = head.find(b"\r\n", length_start)
    start = head_end + len(_HEAD_END)
    end = start + int(head[length_start:] if line_end < 0 else head[length_start:line_end])
    if len(received) < end:
        return None
    if len(received) > end:
        raise ResponseError(f"more than one response to a request: {received[end:]!r}")
    return received[_STATUS], received[start:]


class LoadConnection(asyncio.Protocol):
    """A connection of a load generator.

    Args:
        expected: The expected status.
        on_response: Is called with this connection and the body of each response; it may send the next request.
        on_failure: Is called with the reason when a response is unexpected or the connection ends.
        on_refusal: Is called with this connection after a 503; None makes a 503 a failure.
    """

    def __init__(
        self,
        *,
        expected: int,
        on_response: Callable[["LoadConnection", bytes], None],
        on_failure: Callable[[ResponseError], None],
        on_refusal: Callable[["LoadConnection"], None] | None = None,
    ) -> None:
        self._expected = str(expected).encode()
        self._on_response = on_response
        self._on_failure = on_failure
        self._on_refusal = on_refusal
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None
        self.request_due = 0.0
        """When the current request was due, for measurements of its time; seconds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implement asyncio.Protocol."""
        # A cast, not a check: uvloop's transports have the methods but not the class.
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Implement asyncio.Protocol."""
        if self._transport is not None:
            self._transport = None
            self._on_failure(ResponseError(f"the server closed a connection: {exc}"))

    def send(self, request: bytes) -> None:
        """Send a complete request after the response to the previous one."""
        assert self._transport is not None, "the connection is open"
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Implement asyncio.Protocol."""
        received = self._received + data if self._received else data
        try:
            response = parse_response(received)
        except ResponseError as error:
            self._on_failure(error)
            return
        if response is None:
            self._received = received
            return
        self._received = b""
        status, body = response
        if status == self._expected:
            self._on_response(self, body)
        elif status == _UNAVAILABLE and self._on_refusal is not None:
            self._on_refusal(self)
        else:
            self._on_failure(ResponseError(f"status {status!r} instead of {self._expected!r}: {body[:500]!r}"))


async def connect(port: int, connection: LoadConnection) -> None:
    """Connect to a port of this machine.

    Raises:
        OSError: Nothing listens there.
    """
    await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", port)
