"""Requests that ask for another protocol: one response, then the connection is closed; nothing after it is read."""

import asyncio
import re

import pytest

from tests.http_service import Site, stored, storing_nothing, with_more_keys

_STATUS = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")
_WITHIN = 2.0
"""Seconds."""

_PROTOCOLS = {
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "unknown": ("Connection: Upgrade", "Upgrade: foo"),
    "TLS": ("Connection: Upgrade", "Upgrade: TLS/1.0"),
    "WebSocket without a key": ("Connection: Upgrade", "Upgrade: websocket"),
    "WebSocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    "several": ("Connection: Upgrade", "Upgrade: h2c, websocket"),
    "upper case": ("CONNECTION: UPGRADE", "UPGRADE: H2C"),
    "lower case": ("connection: upgrade", "upgrade: h2c"),
    "keep-alive": ("Connection: keep-alive, Upgrade", "Upgrade: h2c"),
}
_BODY = b'{"name": "hidden"}'


def _request(site: Site, line: str, *headers: str, token: bool = True, body: bytes = b"") -> bytes:
    lines = [line, "Host: a", "Content-Type: application/json", *headers]
    if token:
        lines.append(f"Authorization: Bearer {site.token}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _hidden(site: Site) -> bytes:
    """A create that must not be seen."""
    return _request(site, f"POST {site.keys_path} HTTP/1.1", body=_BODY)


async def _exchange(site: Site, request: bytes) -> tuple[list[int], bytes]:
    """The statuses of all responses until the service closes the connection, and their bytes."""
    async with asyncio.timeout(_WITHIN):
        received = await site.exchange(request)
    return [int(status) for status in _STATUS.findall(received)], received


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("protocol", _PROTOCOLS)
async def test_an_upgrade_is_handled_as_any_request_and_closes_the_connection(
    site: Site, protocol: str, version: str
) -> None:
    """With a token, without one and on an unknown path; what follows is neither handled nor silently dropped."""
    headers = _PROTOCOLS[protocol]
    cases = (
        (_request(site, f"GET {site.keys_path} {version}", *headers), 200),
        (_request(site, f"GET {site.keys_path} {version}", *headers, token=False), 401),
        (_request(site, f"GET /nowhere/ {version}", *headers, token=False), 404),
        (_request(site, f"OPTIONS {site.keys_path} {version}", *headers), 200),
    )
    async with storing_nothing(site):
        for request, status in cases:
            statuses, received = await _exchange(site, request + _hidden(site))
            assert statuses == [status]
            assert b"\r\nConnection: close\r\n" in received


@pytest.mark.parametrize("protocol", _PROTOCOLS)
async def test_an_upgrade_with_a_body_is_handled_with_its_body(site: Site, protocol: str) -> None:
    """The body belongs to the request, what follows it does not."""
    create = _request(site, f"POST {site.keys_path} HTTP/1.1", *_PROTOCOLS[protocol], body=b'{"name": "whole"}')
    before = await stored(site)
    statuses, received = await _exchange(site, create + _hidden(site))
    assert statuses == [201]
    assert b'"name":"whole"' in received
    assert await stored(site) == with_more_keys(before, 1)


@pytest.mark.parametrize("protocol", ["h2c", "WebSocket"])
async def test_requests_before_an_upgrade_are_handled(site: Site, protocol: str) -> None:
    """In order; the upgrade is the last request of the connection."""
    before = _request(site, f"GET {site.keys_path} HTTP/1.1")
    upgrade = _request(site, "GET /nowhere/ HTTP/1.1", *_PROTOCOLS[protocol])
    async with storing_nothing(site):
        statuses, _ = await _exchange(site, before + upgrade + _hidden(site))
    assert statuses == [200, 404]


async def test_bytes_that_arrive_after_an_upgrade_are_not_read(site: Site) -> None:
    """Also in a later packet, which another server could take for data of the new protocol."""
    upgrade = _request(site, f"GET {site.keys_path} HTTP/1.1", *_PROTOCOLS["h2c"])
    async with storing_nothing(site), asyncio.timeout(_WITHIN):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
        writer.write(upgrade + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        received = await reader.read()
        writer.close()
    assert _STATUS.findall(received) == [b"200"]


async def test_connect_closes_the_connection(site: Site) -> None:
    """What follows would be data of a tunnel, which is not opened."""
    for line in ("CONNECT a:443 HTTP/1.1", "CONNECT a:443 HTTP/1.0"):
        async with storing_nothing(site):
            statuses, _ = await _exchange(site, _request(site, line) + _hidden(site))
        assert statuses in ([400], [404], [405])


async def test_an_upgrade_header_without_its_connection_option_changes_nothing(site: Site) -> None:
    """RFC 9110, section 7.8: such a header is ignored, and the connection stays open."""
    request = _request(site, f"GET {site.keys_path} HTTP/1.1", "Upgrade: h2c")
    last = _request(site, "GET /nowhere/ HTTP/1.1", "Connection: close")
    assert (await _exchange(site, request + last))[0] == [200, 404]
