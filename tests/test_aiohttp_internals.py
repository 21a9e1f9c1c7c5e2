"""The private parts of aiohttp that the connections use, and what its parser reports."""

import ast
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

import service
from projectkeys_servers.ports import free_port
from service.app import build
from service.http.server import connection
from service.http.server.connection import ServerRunner
from service.server import build_http
from service.settings import Settings
from testkit.http_client import exchange

_PRIVATE_NAMES: Final = {
    (web.AppRunner, "_make_server"): "create a server with our connections",
    (web.RequestHandler, "_handle_request"): "admit a request before its route is looked up",
    (web.RequestHandler, "_messages"): "report a request head that exceeds the limit",
    (web.RequestHandler, "_waiter"): "distinguish an incomplete request head from a request in progress",
    (web.RequestHandler, "_pause_transport_reading"): "stop reading while a response is unsent",
    (web.RequestHandler, "_resume_transport_reading"): "continue reading after the response is sent",
    (web.RequestHandler, "_reading_paused"): "not to continue while a body is not consumed",
    (web.RequestHandler, "_buffer_paused"): "not to continue while pipelined requests are queued",
    (web.Server, "_connections"): "count the connections",
    (web.Server, "_kwargs"): "pass the options of the runner to our connections",
    (web.BaseRequest, "_message"): "end the connection after a request for an upgrade",
}

_SECRET: Final = "sntryu_5ec7e7"  # noqa: S105 -- stands for one
_REJECTED: Final = b'{"detail":"The request is not valid HTTP."}'


async def _respond(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


@pytest.mark.parametrize(("owner", "name"), _PRIVATE_NAMES, ids=str)
async def test_aiohttp_has_the_private_names_that_the_connections_use(owner: type, name: str) -> None:
    """A release without one of them must not be installed; the table says what each is needed for."""
    instances = {web.Server: web.Server(_respond), web.BaseRequest: make_mocked_request("GET", "/")}
    assert hasattr(instances.get(owner, owner), name), f"needed to {_PRIVATE_NAMES[owner, name]}"


def test_the_private_names_are_used_in_one_module_and_documented_there() -> None:
    """No other module of the server needs a review when aiohttp changes."""
    names = {name for _, name in _PRIVATE_NAMES}
    root = Path(service.__file__).parent
    modules = [*root.glob("http/**/*.py"), root / "app.py", root / "server.py"]
    using = {path.stem for path in modules if names & _attributes(path)}
    assert using == {"connection"}
    assert [
        name for name in names if f"`{name}`" not in _documentation() and f".{name}`" not in _documentation()
    ] == []


def _attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def _documentation() -> str:
    return connection.__doc__ or ""


@pytest.fixture
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of an application whose only route raises the exception of the test's parameter."""
    settings = Settings(database_url="postgresql://user@127.0.0.1/none", kafka_bootstrap_servers=("127.0.0.1:9",))
    state = build_http(build(settings)).state

    async def fail(_request: web.Request) -> web.StreamResponse:
        raise request.param

    app = web.Application()
    app.router.add_get("/", fail)
    runner = ServerRunner(app, state, max_connections=10, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    number = free_port()
    await web.TCPSite(runner, "127.0.0.1", number).start()
    yield number
    assert state.admission.in_flight == 0
    await runner.cleanup()


@pytest.mark.parametrize(
    "port",
    [web.HTTPBadRequest(text=f"Invalid header value: {_SECRET}")],
    indirect=True,
    ids=["aiohttp's 400"],
)
@pytest.mark.parametrize(
    "request_",
    [
        f"GET / HTTP/1.1\r\nHost: a\r\nX: {_SECRET}\x00\r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["reported by the connection", "raised by the application"],
)
async def test_no_message_of_the_parser_reaches_a_client(port: int, request_: bytes) -> None:
    """Up to 3.14 the connection reports what the parser rejects; later versions raise it from the application."""
    response = await exchange(port, request_, timeout=5)
    assert response.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert response.endswith(_REJECTED)
    assert _SECRET.encode() not in response
    assert b"Connection: close\r\n" in response


@pytest.mark.parametrize("port", [RuntimeError(_SECRET)], indirect=True, ids=["an internal error"])
async def test_no_message_of_an_internal_error_reaches_a_client(port: int) -> None:
    """Also if it is raised outside of a route."""
    response = await exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", timeout=5)
    assert response.startswith(b"HTTP/1.1 500 ")
    assert _SECRET.encode() not in response
