"""A small ingest service: it asks the edge about each request, as a proxy in front of a real one does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientSession, web

from projectkeys_servers.ports import free_port
from testkit.web_server import serving

_KEY_HEADERS: Final = ("X-Sentry-Auth", "Authorization")
_PASSED_ON: Final = ("X-Auth-Reason", "Retry-After", "X-Sentry-Rate-Limits", "Content-Type")
_OK: Final = 200
_MAX_BODY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Received:
    """A request that the ingest service received: host, path without query, and the status of the response."""

    host: str
    path: str
    status: int


@dataclass(slots=True)
class Ingest:
    """The service: also a forward proxy for every host, so that SDKs can send to the hosts of DSNs that do not exist.

    Args:
        port: Its port on this machine.
        edge_url: The base URL of the edge.
        received: The requests to ingest paths, in their order.
    """

    port: int
    edge_url: str
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its base URL, which is also that of the proxy."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def ingest_service(edge_url: str) -> AsyncIterator[Ingest]:
    """Run an ingest service on a free port during the block."""
    ingest = Ingest(free_port(), edge_url)
    async with ClientSession() as session:

        async def respond(request: web.Request) -> web.Response:
            return await _respond(ingest, session, request)

        application = web.Application(client_max_size=_MAX_BODY)
        application.router.add_route("*", "/{path:.*}", respond)
        async with serving(application, ingest.port):
            yield ingest


async def _respond(ingest: Ingest, session: ClientSession, request: web.Request) -> web.Response:
    """Accept the request if the edge does; otherwise return the response of the edge.

    ``/received`` returns the requests so far, for clients that check what was accepted.
    """
    if request.path == "/received":
        return web.json_response(list(map(asdict, ingest.received)))
    await request.read()
    url = urlsplit(request.raw_path)  # a proxy receives the whole URL
    path = url._replace(scheme="", netloc="").geturl()
    headers = {name: request.headers[name] for name in _KEY_HEADERS if name in request.headers}
    headers |= {"X-Original-URI": path, "X-Original-Method": request.method}
    async with session.get(f"{ingest.edge_url}/auth", headers=headers) as decision:
        body = await decision.read()
    ingest.received.append(Received(url.netloc or request.host, url.path, decision.status))
    if decision.status == _OK:
        return web.json_response({"id": "0" * 32})
    passed_on = {name: decision.headers[name] for name in _PASSED_ON if name in decision.headers}
    return web.Response(body=body, status=decision.status, headers=passed_on)
