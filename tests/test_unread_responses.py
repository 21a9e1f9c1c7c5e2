"""Clients that do not read their responses are disconnected in time, and the memory that they use is bounded."""

import asyncio
import socket
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from service.settings import Settings
from testkit.polling import poll_until
from tests.http_service import Site, open_site
from tests.processes import DeployedReplica, Deployment, replica
from tests.test_docs_pages import SCRIPT
from tests.unread import is_aborted, resident, slowest_livez, unread_requests

_MIB = 1024 * 1024
_LIVEZ_WITHIN = 0.5
_PAGE = f"GET {SCRIPT} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
_OLD_PAGE = f"GET {SCRIPT} HTTP/1.0\r\n\r\n".encode()


async def _all_aborted(deployed: DeployedReplica, clients: Iterable[socket.socket]) -> None:
    await poll_until(lambda: asyncio.sleep(0, result=all(map(is_aborted, clients))))
    assert await deployed.metric("http_unsent_response_bytes") == 0


@pytest.mark.parametrize("request_", [_PAGE, _OLD_PAGE, _PAGE * 20], ids=["HTTP/1.1", "HTTP/1.0", "pipelined"])
async def test_unread_pages_share_their_bytes_and_are_aborted(
    settings: Settings, tmp_path: Path, request_: bytes
) -> None:
    """No token is needed for them: 60 clients cost little memory, and SEND_TIMEOUT ends their connections."""
    async with replica(Deployment(settings, "", ""), tmp_path, SEND_TIMEOUT="1.5") as deployed:
        before = resident(deployed.process.pid)
        with unread_requests(deployed.port, 60, request_) as clients:
            assert await slowest_livez(deployed, seconds=1) < _LIVEZ_WITHIN
            assert resident(deployed.process.pid) - before < 16 * _MIB
            await _all_aborted(deployed, clients)


async def test_unread_lists_are_bounded_in_sum(settings: Settings, tmp_path: Path) -> None:
    """Beyond UNSENT_LIMIT the connection whose response is unsent for longest is aborted."""
    async with open_site(settings) as site:
        for _ in range(100):
            assert (await site.create({"name": "k" * 64})).status == 201
        path = f"{site.keys_path}?per_page=100"
        size = len((await site.send("GET", path)).raw)
        deployment = Deployment(settings, site.token, site.keys_path)
    limit, clients_number = 4 * _MIB, 300
    assert size * clients_number > 2 * limit, "the lists are long enough to exceed the limit"
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {deployment.token}\r\n\r\n"
    async with replica(deployment, tmp_path, UNSENT_LIMIT=str(limit), SEND_TIMEOUT="6") as deployed:
        before = resident(deployed.process.pid)
        with unread_requests(deployed.port, clients_number, request.encode() * 4) as clients:
            await poll_until(lambda: asyncio.sleep(0, result=sum(map(is_aborted, clients)) > clients_number / 2))
            assert await slowest_livez(deployed, seconds=0.5) < _LIVEZ_WITHIN
            assert not all(map(is_aborted, clients))
            assert limit / 4 < await deployed.metric("http_unsent_response_bytes") <= limit
            assert resident(deployed.process.pid) - before < 32 * _MIB
            await _all_aborted(deployed, clients)


async def test_a_slow_reader_gets_the_whole_response(settings: Settings) -> None:
    """If it takes less than SEND_TIMEOUT; the next request on the connection is handled as any other."""
    async with open_site(replace(settings, send_timeout=5.0)) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port, limit=1000)
        writer.write(_PAGE)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        await poll_until(lambda: asyncio.sleep(0, result=len(site.server.unsent) == 1))
        length = int(head.partition("Content-Length: ")[2].split()[0])
        started, received = time.monotonic(), 0
        while received < length:
            received += len(await reader.read(min(65536, length - received)))
            await asyncio.sleep(0.01)
        assert time.monotonic() - started > 0.2
        assert len(site.server.unsent) == 0
        writer.write(b"GET /nowhere/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
        writer.close()


async def test_an_unread_response_occupies_no_slot(settings: Settings) -> None:
    """With MAX_REQUESTS=1 another client is served while it is unsent."""
    async with open_site(replace(settings, max_requests=1)) as site:
        with unread_requests(site.service.settings.port, 1, _PAGE):
            await poll_until(lambda: _is_unsent(site))
            assert (await site.create({})).status == 201


async def _is_unsent(site: Site) -> bool:
    return len(site.server.unsent) == 1 and site.server.unsent.size > 0
