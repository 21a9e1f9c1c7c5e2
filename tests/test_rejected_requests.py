"""Requests that aiohttp rejects before a handler runs: each response has the form of all others, on both ports."""

import re
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
from aiohttp import StreamReader

from testkit.http_client import exchange
from tests.http_service import COMMON_HEADERS, Site, serving, storing_nothing
from tests.raw_requests import BODY, Target

_LINES = "GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"
_ROOMY = 20_000
"""Bytes of HEADER_LIMIT in the test of the setting."""


def _large_heads() -> Iterator[tuple[str, int, str]]:
    """Yield a head, the status and the text of the response."""
    yield _LINES.format(path="/", lines=f"X: {'a' * 8200}"), 431, "A header is longer than 8190 bytes."
    yield _LINES.format(path="/", lines=f"{'X' * 8200}: a"), 431, "A header is longer than 8190 bytes."
    yield _LINES.format(path="/", lines=f"Cookie: {'a' * 30_000}"), 431, "A header is longer than 8190 bytes."
    yield _LINES.format(path="/" + "a" * 9000, lines="X: y"), 414, "The URL is longer than 8191 bytes."
    many = "\r\n".join(f"X{number}: a" for number in range(200))
    yield _LINES.format(path="/", lines=many), 431, "The request has more than 128 headers."
    long = "\r\n".join(f"X{number}: {'a' * 8000}" for number in range(100))
    yield _LINES.format(path="/", lines=long), 431, "The request head is longer than 32760 bytes."


def _check_form(received: bytes, status: int, detail: str | None) -> None:
    """Check that ``received`` is one response in the form of this service."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert [int(line) for line in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", received)] == [status]
    lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert COMMON_HEADERS.items() <= lines.items()
    assert (lines["Content-Type"], lines["Connection"]) == ("application/json", "close")
    assert re.fullmatch("[0-9a-f]{32}", lines["X-Request-Id"])
    assert detail is None or orjson.loads(body) == {"detail": detail}


@pytest.mark.parametrize(("head", "status", "detail"), [*_large_heads()], ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("port", ["port", "ops_port"])
async def test_a_large_request_head_gets_a_response_that_names_the_limit(
    site: Site, port: str, head: str, status: int, detail: str
) -> None:
    """The rest of the request is received, so that no reset discards the response."""
    number = getattr(site.service.settings, port)
    async with storing_nothing(site):
        _check_form(await exchange(number, head.encode(), timeout=5), status, detail)


async def test_the_limit_of_a_header_is_a_setting(site: Site) -> None:
    """A proxy may add large headers."""
    settings = replace(site.service.settings, header_limit=_ROOMY)
    async with serving(settings) as (service, server, session):
        other = replace(site, service=service, server=server, session=session)
        get = Target(site.keys_path, site.token).get
        accepted = await other.exchange(get(site.keys_path, f"Cookie: {'a' * (_ROOMY - 100)}"))
        assert accepted.startswith(b"HTTP/1.1 200 ")
        rejected = await other.exchange(get(site.keys_path, f"Cookie: {'a' * (_ROOMY + 10)}"))
        _check_form(rejected, 431, f"A header is longer than {_ROOMY} bytes.")


@pytest.mark.parametrize(
    ("line", "lines", "status"),
    [
        ("POST {path} HTTP/1.1", ("Expect: 100-continue, x",), 417),
        ("POST {path} HTTP/1.1", ("Expect: 200-ok",), 417),
        ("POST {path} HTTP/1.1", ("Expect: <script>",), 417),
        ("OPTIONS * HTTP/1.1", (), 404),
        ("GET * HTTP/1.1", (), 400),
        ("CONNECT a:443 HTTP/1.1", (), 404),
    ],
)
@pytest.mark.parametrize("port", ["port", "ops_port"])
async def test_no_response_has_the_form_of_the_library(
    site: Site, port: str, line: str, lines: tuple[str, ...], status: int
) -> None:
    """It would name the library in the header Server and omit the security headers."""
    head = Target("", site.token).head(*lines, f"Content-Length: {len(BODY)}", line=line.format(path=site.keys_path))
    async with storing_nothing(site):
        received = await exchange(getattr(site.service.settings, port), head + BODY, timeout=5)
    _check_form(received, status, None)
    assert b"script" not in received


@pytest.mark.parametrize("path", ["/api/0/nothing/", "{keys}"])
async def test_the_chunks_after_a_response_are_not_parsed(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """To parse a megabyte of chunks of one byte would occupy the event loop for a second."""
    parsed, begin = [0], StreamReader.begin_http_chunk_receiving

    def count(reader: StreamReader) -> None:
        parsed[0] += 1
        begin(reader)

    monkeypatch.setattr(StreamReader, "begin_http_chunk_receiving", count)
    line = f"POST {path.format(keys=site.keys_path)} HTTP/1.1"
    head = Target("", site.token).head("Transfer-Encoding: chunked", line=line)
    received = await exchange(site.service.settings.port, head + b"1\r\n \r\n" * 400_000 + b"0\r\n\r\n", timeout=5)
    assert received.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 413 "))
    assert b"\r\nConnection: close\r\n" in received
    assert parsed[0] < 150_000
