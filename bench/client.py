"""An HTTP/1.1 client as cheap as can be: one connection, one request at a time, bytes that were made before."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length: "
_STATUS: Final = slice(9, 12)
_COME_AGAIN: Final = b"503"


class AnswerError(Exception):
    """An answer is not what was expected; the text says what came."""


def parse(received: bytes) -> tuple[bytes, bytes] | None:
    """The status and the body of an answer, or None while some of it is missing.

    Args:
        received: all that has come since the request.

    Raises:
        AnswerError: it is no answer with a Content-Length, or more than one.
    """
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        raise AnswerError(f"an answer without Content-Length: {head!r}")
    at += len(_LENGTH)
    line_end = head.find(b"\r\n", at)
    start = head_end + len(_HEAD_END)
    end = start + int(head[at:] if line_end < 0 else head[at:line_end])
    if len(received) < end:
        return None
    if len(received) > end:
        raise AnswerError(f"more than one answer to a request: {received[end:]!r}")
    return received[_STATUS], received[start:]


def request(method: str, path: str, *, token: str, body: bytes = b"") -> bytes:
    """The bytes of a request that keeps its connection."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


class Client(asyncio.Protocol):
    """A connection.

    Args:
        expected: the status that every answer must have.
        answered: is called with this client and the body of each answer; it may send the next request.
        failed: is called with the reason when an answer is another one or the connection ends.
        refused: is called with this client when it is told to come again (503); None takes that for a failure.
    """

    def __init__(
        self,
        *,
        expected: int,
        answered: Callable[["Client", bytes], None],
        failed: Callable[[AnswerError], None],
        refused: Callable[["Client"], None] | None = None,
    ) -> None:
        self._expected = str(expected).encode()
        self._answered = answered
        self._failed = failed
        self._refused = refused
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None
        self.stamp = 0.0
        """When the present request was due, for whoever measures its time; seconds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's: the connection stands."""
        # Known, not asked: uvloop's transports have the methods and not the class.
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's: the connection has ended."""
        if self._transport is not None:
            self._transport = None
            self._failed(AnswerError(f"the server closed a connection: {exc}"))

    def send(self, prepared: bytes) -> None:
        """Send a request; the answer to the one before has come.

        Args:
            prepared: what `request` made.
        """
        assert self._transport is not None, "the connection stands"
        self._transport.write(prepared)

    def close(self) -> None:
        """End the connection."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Asyncio's: more of an answer has come."""
        received = self._received + data if self._received else data
        try:
            answer = parse(received)
        except AnswerError as error:
            self._failed(error)
            return
        if answer is None:
            self._received = received
            return
        self._received = b""
        status, body = answer
        if status == self._expected:
            self._answered(self, body)
        elif status == _COME_AGAIN and self._refused is not None:
            self._refused(self)
        else:
            self._failed(AnswerError(f"status {status!r} instead of {self._expected!r}: {body[:500]!r}"))


async def connect(port: int, client: Client) -> None:
    """Connect ``client`` to a port of this machine.

    Raises:
        OSError: nobody listens there.
    """
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
