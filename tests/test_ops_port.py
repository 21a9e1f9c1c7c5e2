"""The operations port: its connections have the limits of the API's, and no load of the API delays /livez."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.settings import Settings
from testkit.http_client import exchange
from tests.http_service import COMMON_HEADERS, Site
from tests.processes import DeployedReplica, deploy, replica
from tests.unread import slowest_livez

_LIVEZ_WITHIN = 0.5
_HELD = 300
_TIMEOUT = 5.0


async def _exchange(site: Site, request: bytes) -> bytes:
    return await exchange(site.service.settings.ops_port, request, timeout=_TIMEOUT)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"404"),
        (b"POST /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"404"),
        (
            b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n",
            b"200",
        ),
        (b"nonsense\r\n\r\n", b"400"),
    ],
    ids=["livez", "an unknown path", "another method", "an upgrade", "no HTTP"],
)
async def test_responses_of_the_operations_port_have_the_form_of_the_api(
    site: Site, request_: bytes, status: bytes
) -> None:
    """One response, with our headers, and the end of the connection."""
    response = await _exchange(site, request_)
    assert response.count(b"HTTP/1.") == 1
    assert response.split()[1] == status
    for name, value in COMMON_HEADERS.items():
        assert f"\r\n{name}: {value}\r\n".encode() in response


async def test_a_request_head_on_the_operations_port_has_a_limit(site: Site) -> None:
    """As on the API's port."""
    headers = "".join(f"X-{number}: {'a' * 1000}\r\n" for number in range(100))
    response = await _exchange(site, f"GET /livez HTTP/1.1\r\nHost: a\r\n{headers}".encode())
    assert response.startswith(b"HTTP/1.0 431 ")


async def test_livez_is_fast_while_clients_hold_slow_bodies_and_connections_without_a_head(
    settings: Settings, tmp_path: Path
) -> None:
    """The API's port is full of them; the operations port shares neither its slots nor its connections."""
    deployment = await deploy(settings)
    async with (
        replica(deployment, tmp_path, MAX_REQUESTS="50", MAX_NEW_CONNECTIONS=str(_HELD)) as one,
        _held(one, b"GET / HTTP/1.1\r\nX-Slow: "),
        _held(one, _slow_body(one)),
    ):
        assert await slowest_livez(one, seconds=2) < _LIVEZ_WITHIN


def _slow_body(one: DeployedReplica) -> bytes:
    lines = (
        f"POST {one.deployment.keys_path} HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {one.deployment.token}",
        "Content-Type: application/json",
        "Content-Length: 100",
    )
    return "\r\n".join([*lines, "", "{"]).encode()


@asynccontextmanager
async def _held(one: DeployedReplica, request: bytes) -> AsyncIterator[None]:
    """Hold connections on which ``request``, which is incomplete, was sent."""
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", one.port) for _ in range(_HELD)), return_exceptions=True
    )
    writers = [streams[1] for streams in opened if not isinstance(streams, BaseException)]
    for writer in writers:
        writer.write(request)
    yield
    for writer in writers:
        writer.close()
