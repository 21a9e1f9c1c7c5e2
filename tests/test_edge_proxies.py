"""Real proxies with the configurations of docs/proxies.md, between a client and an ingest service."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, web

from projectkeys_servers.ports import free_port
from service.domain.model import new_key_half
from testkit.debian import require_program
from testkit.documentation import code_blocks
from testkit.polling import poll_until
from testkit.processes import ROOT, running
from testkit.web_server import serving
from tests.edge_site import REJECTED, EdgeSite, open_edge

_PAGE = ROOT / "docs" / "proxies.md"
_AROUND_NGINX = "daemon off; pid {0}/pid; error_log stderr; events {{}} http {{ access_log off; {1} }}"


def _nginx(directory: Path) -> Sequence[str]:
    file = directory / "nginx.conf"
    file.write_text(_AROUND_NGINX.format(directory, file.read_text()))
    return ["-p", str(directory), "-c", str(file), "-e", "stderr"]


def _caddy(directory: Path) -> Sequence[str]:
    file = directory / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + file.read_text())
    return ["run", "--adapter", "caddyfile", "--config", str(file)]


def _haproxy(directory: Path) -> Sequence[str]:
    return ["-db", "-C", str(directory), "-f", str(directory / "haproxy.cfg")]


@dataclass(frozen=True, slots=True)
class _Proxied:
    """A proxy in front of an ingest service that returns the headers which it received."""

    edge: EdgeSite
    port: int

    async def send(self, key: str, **headers: str) -> tuple[int, dict[str, str]]:
        """Send an event; return the status and the headers, those of the ingest service if it responded."""
        url = f"http://127.0.0.1:{self.port}/api/3/envelope/?sentry_key={key}"
        async with self.edge.client.post(url, data=b"{}" * 1000, headers=headers) as response:
            received = await response.json() if response.status == 200 else response.headers
            return response.status, {name.lower(): value for name, value in received.items()}


async def _ingest(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response(dict(request.headers))


def _ingest_service(port: int) -> AbstractAsyncContextManager[None]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _ingest)
    return serving(app, port)


@pytest.fixture(scope="module")
async def edge(kafka_bootstrap: str) -> AsyncIterator[EdgeSite]:
    """The edge of all proxies."""
    async with open_edge(kafka_bootstrap) as opened:
        yield opened


@pytest.fixture(scope="module", params=[_nginx, _caddy, _haproxy], ids=lambda start: start.__name__[1:])
async def proxied(
    edge: EdgeSite, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[_Proxied]:
    """A proxy with the documented configuration, on other ports."""
    start: Callable[[Path], Sequence[str]] = request.param
    name = start.__name__[1:]
    program = await require_program(name, package={"nginx": "nginx-light"}.get(name, name))
    directory = tmp_path_factory.mktemp("proxy")
    port, ingest_port = free_port(), free_port()
    for block in code_blocks(_PAGE):
        if block.file:
            text = block.text.replace("127.0.0.1:9000", f"127.0.0.1:{ingest_port}").replace("8000", str(port))
            text = text.replace("127.0.0.1:8082", f"127.0.0.1:{edge.edge.settings.edge_port}")
            (directory / block.file).write_text(text)
    environment = {"HOME": str(directory)}
    async with (
        _ingest_service(ingest_port),
        running(
            [program, *start(directory)], environment=environment, output=directory / "log", stop_timeout=5
        ) as process,
    ):
        opened = _Proxied(edge, port)

        async def responds() -> bool:
            assert process.running, process.output
            try:
                return bool(await opened.send("none"))
            except ClientConnectionError:
                return False

        await poll_until(responds)
        yield opened


async def test_an_active_key_passes_with_its_project(proxied: _Proxied) -> None:
    """The ingest service receives the numbers from the edge, whatever the client sends."""
    key = new_key_half()
    await proxied.edge.write(key, projectId=3, keyId=17)
    status, received = await proxied.send(key, **{"X-Project-Id": "5", "X-Key-Id": "5"})
    assert status == 200
    assert (received["x-project-id"], received["x-key-id"]) == ("3", "17")


async def test_unknown_keys_and_spoofed_headers_are_refused(proxied: _Proxied) -> None:
    """A client cannot have another URI or method decided about."""
    key, unknown = new_key_half(), new_key_half()
    await proxied.edge.write(key, projectId=3)
    valid = f"/api/3/envelope/?sentry_key={key}"
    url = f"http://127.0.0.1:{proxied.port}/api/3/envelope/?sentry_key={unknown}"
    async with proxied.edge.client.post(url) as response:
        assert response.status == 403
        assert await response.json() == {"detail": REJECTED, "causes": ["unknown_key"]}
    for name in ("X-Original-URI", "X-Forwarded-Uri", "X-Envoy-Original-Path"):
        assert (await proxied.send(unknown, **{name: valid}))[0] == 403
    for name in ("X-Original-Method", "X-Forwarded-Method"):
        assert (await proxied.send(unknown, **{name: "OPTIONS"}))[0] == 403
    assert (await proxied.send(unknown, **{"X-Sentry-Auth": f"Sentry sentry_key={key}"}))[0] == 403


async def test_a_rate_limit_results_in_429(proxied: _Proxied) -> None:
    """With the headers by which clients stop sending."""
    key = new_key_half()
    await proxied.edge.write(key, projectId=3, rateLimit={"window": 3600, "count": 1})
    assert (await proxied.send(key))[0] == 200
    status, headers = await proxied.send(key)
    assert status == 429
    assert 0 < int(headers["retry-after"]) <= 3600
    assert headers["x-sentry-rate-limits"].endswith("::key:key_quota")


async def test_a_disabled_key_is_refused_within_a_second(proxied: _Proxied) -> None:
    """From the acknowledgement of its event."""
    key = new_key_half()
    await proxied.edge.write(key, projectId=3)
    assert (await proxied.send(key))[0] == 200
    await proxied.edge.writer.write(key, 2, projectId=3, isActive=False)
    acknowledged = time.monotonic()
    while (await proxied.send(key))[0] == 200:
        await asyncio.sleep(0.01)
    assert time.monotonic() - acknowledged < 1


async def test_a_preflight_request_passes(proxied: _Proxied) -> None:
    """It has no key."""
    url = f"http://127.0.0.1:{proxied.port}/api/3/envelope/"
    async with proxied.edge.client.options(url) as response:
        assert response.status == 200
