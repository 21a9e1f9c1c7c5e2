"""The header Expect on a raw socket: clients such as curl wait for its response before they send a large body."""

import asyncio

import pytest

from tests.http_service import Site

_TIMEOUT = 10.0
_BODY = b'{"name":"Fabulous Key"}'


def _head(site: Site, *, version: str = "HTTP/1.1", expect: str = "100-continue", token: str = "") -> bytes:
    return (
        f"POST {site.keys_path} {version}\r\nHost: a\r\nAuthorization: Bearer {token or site.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\nExpect: {expect}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


async def _responses(site: Site, head: bytes, *, waits: bool) -> bytes:
    """Send a head, and the body after the interim response or at once; return everything received."""
    async with asyncio.timeout(_TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
        writer.write(head)
        received = await reader.readuntil(b"\r\n\r\n") if waits else b""
        writer.write(_BODY)
        received += await reader.read()
        writer.close()
        return received


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
async def test_the_service_asks_for_the_body_that_a_client_announces(site: Site, expect: str) -> None:
    """With an interim response before the body is sent, and the response afterwards."""
    received = await _responses(site, _head(site, expect=expect), waits=True)
    interim, response = received.split(b"\r\n\r\n", 1)
    assert interim == b"HTTP/1.1 100 Continue"
    assert response.startswith(b"HTTP/1.1 201 Created\r\n")


async def test_an_http_1_0_client_receives_no_interim_response(site: Site) -> None:
    """It would take that for the response: RFC 9110, section 10.1.1."""
    received = await _responses(site, _head(site, version="HTTP/1.0"), waits=False)
    assert received.startswith(b"HTTP/1.0 201 Created\r\n")


async def test_another_expectation_is_rejected(site: Site) -> None:
    """The response says that it is not met, and nothing is created."""
    received = await _responses(site, _head(site, expect="tea"), waits=False)
    assert received.startswith(b"HTTP/1.1 417 ")
    assert b"201" not in received
