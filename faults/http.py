"""One request at a time over one connection, never repeated: a caller has to know what was sent and what came back.

Libraries repeat what is thought safe to be repeated, and hide it.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

ANSWER_WITHIN: Final = 14.0
"""Seconds; the service's own bound is ten, and a sweep of its deadlines."""

_CONNECT_WITHIN: Final = 5.0


class NobodyThereError(Exception):
    """The connection was not made: nothing was sent."""


class NoAnswerError(Exception):
    """The connection broke or the time was over: nobody knows what was done."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body; an empty dict where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


class Line:
    """A connection to one server, made when it is needed."""

    def __init__(self, port: int, *, answer_within: float = ANSWER_WITHIN) -> None:
        self._port = port
        self._within = answer_within
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, *, token: str = "", body: object = None, once: str = ""
    ) -> Response:
        """Send a request and read its answer.

        Raises:
            NobodyThereError: it was not sent.
            NoAnswerError: it was sent, in part or whole.
        """
        reader, writer = await self._connected()
        text = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(text)}"]
        head += ["Content-Type: application/json"] if text else []
        head += [f"Authorization: Bearer {token}"] if token else []
        head += [f"Idempotency-Key: {once}"] if once else []
        try:
            async with asyncio.timeout(self._within):
                writer.write("\r\n".join([*head, "", ""]).encode() + text)
                answer = await read_answer(reader)
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            self.close()
            raise NoAnswerError(repr(error)) from None
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Forget the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            try:
                async with asyncio.timeout(_CONNECT_WITHIN):
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                raise NobodyThereError(repr(error)) from None
        return self._streams


async def read_answer(reader: asyncio.StreamReader) -> Response:
    """A whole answer.

    Raises:
        OSError: the connection broke.
        EOFError: it ended too early.
        ValueError: it is no HTTP.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in filter(None, head[1:]):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Response(int(head[0].split()[1]), headers, body)


async def ask(port: int, method: str, path: str, *, token: str = "", body: object = None) -> Response:
    """One request over a connection of its own.

    Raises:
        NobodyThereError: it was not sent.
        NoAnswerError: it was sent, in part or whole.
    """
    line = Line(port, answer_within=ANSWER_WITHIN)
    try:
        return await line.ask(method, path, token=token, body=body)
    finally:
        line.close()


async def patient_status(port: int, path: str) -> int:
    """The status of a GET; 0 if there is no answer."""
    with suppress(NobodyThereError, NoAnswerError):
        return (await ask(port, "GET", path)).status
    return 0
