"""Connections without a complete request head: a limit for each address, a deadline and a size."""

import asyncio
import time
from dataclasses import replace

import pytest

from service.http.server.new_connections import NewConnections
from service.settings import Settings
from testkit.polling import poll_until
from tests.http_service import Site, open_site

_READ = b"GET /nowhere/ HTTP/1.1\r\nHost: a\r\n\r\n"
_HALF = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
_HEADERS = [f"X-{number}: {'a' * 1000}\r\n".encode() for number in range(100)]
_SLACK = 2.0


async def test_an_address_has_a_limit_of_connections_without_a_request(settings: Settings) -> None:
    """Further ones are closed immediately; connections that have sent a request are not counted."""
    async with open_site(replace(settings, max_new_connections=3)) as site:
        port = site.service.settings.port
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        silent[1][1].write(_HALF)
        await poll_until(lambda: _is_closed(site))
        assert (await site.send("GET", site.keys_path)).status == 200
        reader, writer = silent[0]
        writer.write(_READ)
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
        another = await asyncio.open_connection("127.0.0.1", port)
        another[1].write(_READ)
        assert (await another[0].readline()).startswith(b"HTTP/1.1 404 ")
        silent[2][1].close()
        await poll_until(lambda: _is_accepted(site))
        for _, each in [*silent, another]:
            each.close()


async def _is_closed(site: Site) -> bool:
    try:
        return await site.exchange(_READ.replace(b"Host", b"Connection: close\r\nHost")) == b""
    except ConnectionResetError:
        return True


async def _is_accepted(site: Site) -> bool:
    return not await _is_closed(site)


async def test_without_the_limit_all_connections_of_an_address_are_kept(settings: Settings) -> None:
    """0 disables it."""
    async with open_site(replace(settings, max_new_connections=0)) as site:
        port = site.service.settings.port
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        assert await _is_accepted(site)
        for _, writer in silent:
            writer.close()


async def test_the_first_head_has_its_own_deadline(settings: Settings) -> None:
    """A connection without a complete first head is closed; one that waits for its next request is not."""
    async with open_site(replace(settings, header_timeout=0.3, keepalive_timeout=30.0)) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
        writer.write(_READ)
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
        started = time.monotonic()
        assert [await site.exchange(b""), await site.exchange(_HALF)] == [b"", b""]
        assert time.monotonic() - started < 2 * 0.3 + _SLACK
        writer.write(_READ)
        await reader.readuntil(b"HTTP/1.1 404 ")
        writer.close()


@pytest.mark.parametrize("before", [b"", _READ], ids=["first", "second"])
async def test_a_head_has_a_limit_of_its_size(site: Site, before: bytes) -> None:
    """Each header is below the limit of the parser; all of them would take a megabyte per connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
    async with asyncio.timeout(_SLACK):
        if before:
            writer.write(before)
            await reader.readuntil(b"HTTP/1.1 404 ")
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(_HEADERS))
        assert b" 431 " in await reader.read()
    writer.close()


class _Connection:
    """A connection that only counts."""

    def force_close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("addresses", "admitted"),
    [
        (["192.0.2.1", "192.0.2.2", "192.0.2.1"], [True, True, False]),
        (["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"], [True, False, True]),
        (["::ffff:192.0.2.1", "192.0.2.1"], [True, False]),
        (["fe80::1%eth0", "fe80::2%eth0"], [True, False]),
        (["", ""], [True, False]),
    ],
    ids=["IPv4", "IPv6 by /64", "IPv4 in IPv6", "with a scope", "a UNIX socket"],
)
async def test_an_ipv6_network_counts_as_one_client(addresses: list[str], admitted: list[bool]) -> None:
    """A client chooses the last 64 bits of its address itself."""
    connections = NewConnections(1, 10.0, lambda: None)
    assert [connections.add(_Connection(), address) for address in addresses] == admitted
