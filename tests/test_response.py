"""Responses sent in one piece equal those of aiohttp, and wait for clients that do not read."""

import asyncio
from contextlib import suppress
from itertools import product

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from service.http.server.response import Response, header_lines

_TIMEOUT = 10.0
_HEADERS = {"Server": "projectkeys", "Content-Type": "application/json"}
_END = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_REQUESTS = list(
    product(
        ("GET", "HEAD", "POST"),
        ("HTTP/1.0", "HTTP/1.1"),
        ("", "Connection: close\r\n", "Connection: keep-alive\r\n"),
    )
)
_RESPONSES = [(200, b'{"a":1}'), (200, b"x" * 100_000), (404, b'{"detail":"no"}'), (404, b""), (204, b"")]


async def _exchange(server: BaseTestServer, request: bytes) -> tuple[str, dict[str, str], bytes, bool]:
    """Return the status line, headers and body for a request, and whether the connection accepts another one."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        async with asyncio.timeout(_TIMEOUT):
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


def _remove_differences(headers: dict[str, str], method: str, version: str, *, empty: bool) -> None:
    """Remove what aiohttp does not send although the RFC requires it."""
    if version == "HTTP/1.0" and headers.get("Connection") == "close":
        del headers["Connection"]  # RFC 9112, section 9.6
    if method == "HEAD" and empty:
        assert headers.pop("Content-Length") == "0"  # equal to that of GET


@pytest.mark.parametrize("closes", [False, True], ids=["keep-alive", "close"])
@pytest.mark.parametrize(
    ("status", "body"), _RESPONSES, ids=[f"{status}, {len(body)}" for status, body in _RESPONSES]
)
async def test_a_response_equals_that_of_aiohttp(status: int, body: bytes, *, closes: bool) -> None:
    """For each method, version and Connection header; the order of the headers may differ."""

    async def ours(_request: web.Request) -> web.StreamResponse:
        response = Response(header_lines(_HEADERS), body, status=status)
        response.header_lines += header_lines({"X-More": "specific"})
        if closes:
            response.force_close()
        return response

    async def theirs(_request: web.Request) -> web.StreamResponse:
        response = web.Response(body=body, status=status, headers={**_HEADERS, "X-More": "specific"})
        if closes:
            response.force_close()
        return response

    async def end(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=418)

    app = web.Application()
    app.router.add_route("*", "/ours", ours)
    app.router.add_route("*", "/theirs", theirs)
    app.router.add_route("*", "/end", end)
    async with TestServer(app) as server:
        for method, version, connection in _REQUESTS:
            responses = []
            for path in ("/ours", "/theirs"):
                request = f"{method} {path} {version}\r\nHost: a\r\n{connection}\r\n".encode()
                responses.append(await _exchange(server, request))
            for _, headers, _, _ in responses:
                assert headers.pop("Date").endswith(" GMT")
            _remove_differences(responses[0][1], method, version, empty=not body and status != 204)
            assert responses[0] == responses[1], (method, version, connection)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\x00b"])
def test_a_header_value_with_a_line_end_is_rejected(value: str) -> None:
    """The rest of the value would be another header or another response."""
    with pytest.raises(ValueError, match="cannot be printed"):
        header_lines({**_HEADERS, "Location": value})


async def test_backpressure_pauses_pipelined_requests() -> None:
    """Unread responses would fill the memory: the next request waits until the previous responses are sent."""
    handled, total = 0, 1000

    async def handler(_request: web.Request) -> web.StreamResponse:
        nonlocal handled
        handled += 1
        return Response(header_lines(_HEADERS), b"x" * 100_000)

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1000)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * total)
            before = -1
            while handled != before:
                before = handled
                await asyncio.sleep(0.2)
            assert 0 < handled < total / 2
            async with asyncio.timeout(_TIMEOUT):
                while handled < total:
                    assert await reader.read(1_000_000)
        finally:
            writer.close()
