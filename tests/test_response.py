"""Answers that leave in one piece say what the library's own would say, and wait for callers who do not read."""

import asyncio
from contextlib import suppress
from itertools import product

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from service.http.server.response import Response, header_lines

_PATIENCE = 10.0
_USUAL = {"Server": "projectkeys", "Content-Type": "application/json"}
_END = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_ASKED = list(
    product(
        ("GET", "HEAD", "POST"),
        ("HTTP/1.0", "HTTP/1.1"),
        ("", "Connection: close\r\n", "Connection: keep-alive\r\n"),
    )
)
_SAID = [(200, b'{"a":1}'), (200, b"x" * 100_000), (404, b'{"detail":"no"}'), (404, b""), (204, b"")]


async def _exchange(server: BaseTestServer, request: bytes) -> tuple[str, dict[str, str], bytes, bool]:
    """Status line, headers and body for a request, and whether the connection goes on to another."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        async with asyncio.timeout(_PATIENCE):
            writer.write(request)
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = dict(header.split(": ", 1) for header in lines)
            length = 0 if request.startswith(b"HEAD") else int(headers.get("Content-Length", 0))
            body = await reader.readexactly(length)
            rest = b""
            with suppress(ConnectionError):
                writer.write(_END)
                rest = await reader.read()
            return line, headers, body, rest.startswith(b"HTTP/1.1 418")
    finally:
        writer.close()


def _leave_out(headers: dict[str, str], method: str, version: str, *, empty: bool) -> None:
    """What the library does not say and the RFC wants to be said."""
    if version == "HTTP/1.0" and headers.get("Connection") == "close":
        del headers["Connection"]  # RFC 9112, section 9.6
    if method == "HEAD" and empty:
        assert headers.pop("Content-Length") == "0"  # as GET says it


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
@pytest.mark.parametrize(("status", "body"), _SAID, ids=[f"{status}, {len(body)}" for status, body in _SAID])
async def test_an_answer_is_that_of_the_library(status: int, body: bytes, *, ends: bool) -> None:
    """For each method, version and wish for the connection; but for the order of the headers."""

    async def ours(_request: web.Request) -> web.StreamResponse:
        answer = Response(header_lines(_USUAL), body, status=status)
        answer.add(header_lines({"X-More": "of this answer alone"}))
        if ends:
            answer.force_close()
        return answer

    async def theirs(_request: web.Request) -> web.StreamResponse:
        answer = web.Response(body=body, status=status, headers={**_USUAL, "X-More": "of this answer alone"})
        if ends:
            answer.force_close()
        return answer

    async def end(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=418)

    app = web.Application()
    app.router.add_route("*", "/ours", ours)
    app.router.add_route("*", "/theirs", theirs)
    app.router.add_route("*", "/end", end)
    async with TestServer(app) as server:
        for method, version, wish in _ASKED:
            told = []
            for path in ("/ours", "/theirs"):
                request = f"{method} {path} {version}\r\nHost: a\r\n{wish}\r\n".encode()
                told.append(await _exchange(server, request))
            for _, headers, _, _ in told:
                assert headers.pop("Date").endswith(" GMT")
            _leave_out(told[0][1], method, version, empty=not body and status != 204)
            assert told[0] == told[1], (method, version, wish)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\x00b"])
def test_a_header_that_could_be_two_is_never_made(value: str) -> None:
    """It would be another header, or another answer."""
    with pytest.raises(ValueError, match="cannot be printed"):
        header_lines({**_USUAL, "Location": value})


async def test_who_does_not_read_is_not_answered_on_and_on() -> None:
    """What nobody takes would fill the memory: the next request waits until the answers before it have left."""
    asked, most = 0, 1000

    async def handler(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return Response(header_lines(_USUAL), b"x" * 100_000)

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1000)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * most)
            before = -1
            while asked != before:
                before = asked
                await asyncio.sleep(0.2)
            assert 0 < asked < most / 2
            async with asyncio.timeout(_PATIENCE):
                while asked < most:
                    assert await reader.read(1_000_000)
        finally:
            writer.close()
