"""The service on real ports for the HTTP tests, and checks that a rejected request changes nothing."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
from aiohttp import ClientSession, ClientTimeout
from aiohttp.test_utils import BaseTestServer
from aiohttp.web import BaseRunner
from yarl import URL

from projectkeys_servers.ports import free_port
from service.app import Service, build
from service.domain.scopes import SCOPES
from service.http.server.connection import ServerRunner
from service.http.server.state import ServerState
from service.server import build_app, build_http, listening
from service.settings import Settings
from testkit.http_client import exchange

ORGANIZATION = "the-interstellar-jurisdiction"
NOT_FOUND = {"detail": "The requested resource does not exist"}
NO_PERMISSION = {"detail": "You do not have permission to perform this action."}
COMMON_HEADERS = {
    "Content-Language": "en",
    "Vary": "Accept-Language, Cookie",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "X-XSS-Protection": "1; mode=block",
    "Cache-Control": "no-store",
    "Server": "projectkeys",
}
"""The headers of every response, errors included."""

_RESPONSE_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Response:
    """A response: ``body`` is the JSON value, the text if it is not JSON, or None if it is empty."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """A running service, an organization with a project without keys, and a token with all scopes."""

    service: Service
    server: ServerState
    session: ClientSession
    postgres: "asyncpg.Connection[asyncpg.Record]"
    token: str
    organization_id: int
    project_id: int
    project: str = "pump-station"

    @property
    def keys_path(self) -> str:
        """The path of the project's keys."""
        return f"/api/0/projects/{ORGANIZATION}/{self.project}/keys/"

    async def send(
        self,
        method: str,
        path: str | URL,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Response:
        """Send a request with the site's token, with another one if given, or with none if that is empty."""
        bearer = self.token if token is None else token
        authorization = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        async with self.session.request(
            method, path, headers={**authorization, **(headers or {})}, **body
        ) as response:
            raw = await response.read()
        is_json = response.headers.get("Content-Type") == "application/json" and raw
        value = json.loads(raw) if is_json else raw.decode() or None  # orjson rejects a lone surrogate
        return Response(response.status, response.headers, value, raw)

    async def create(self, body: Any, **options: Any) -> Response:
        """Send ``POST …/keys/`` with a JSON body."""
        return await self.send("POST", self.keys_path, json=body, **options)

    async def post(self, raw: bytes, *, content_type: str = "application/json") -> Response:
        """Send ``POST …/keys/`` with these bytes."""
        return await self.send("POST", self.keys_path, data=raw, headers={"Content-Type": content_type})

    async def new_project(self, slug: str, **body: Any) -> Response:
        """Send ``POST …/projects/`` in the site's organization; without a first key by default."""
        path = f"/api/0/organizations/{ORGANIZATION}/projects/"
        return await self.send("POST", path, json={"name": slug, "slug": slug, "defaultKey": False, **body})

    async def new_token(self, *scopes: str, organization: str | None = None) -> str:
        """Create a token with these scopes; with all scopes by default."""
        return await self.service.use_cases.tokens.create("test", scopes=scopes or SCOPES, organization=organization)

    async def exchange(self, request: bytes) -> bytes:
        """Send bytes on their own connection; return everything received until the service closes it."""
        return await exchange(self.service.settings.port, request, timeout=_RESPONSE_TIMEOUT)


@asynccontextmanager
async def without_publisher(settings: Settings) -> AsyncIterator[Service]:
    """Build the service and open its database for the block; it listens on no port, and events wait in the outbox."""
    service = build(settings)
    await service.database.start()
    try:
        yield service
    finally:
        await service.database.close()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Service, ServerState, ClientSession]]:
    """Run the service on free ports, as in production but without its publisher, and a client session."""
    local = replace(settings, host=("127.0.0.1",), port=free_port(), ops_port=free_port())
    async with without_publisher(local) as service:
        session = ClientSession(f"http://127.0.0.1:{local.port}", timeout=ClientTimeout(total=_RESPONSE_TIMEOUT))
        async with session, listening(service) as server:
            yield service, server.state, session


class ApiServer(BaseTestServer):
    """The API of a service, whose database is started, with the connections that it has in production."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service

    async def _make_runner(self, **_options: Any) -> BaseRunner:
        server = build_http(self._service)
        app = build_app(self._service, server)
        return ServerRunner(app, server.state, max_connections=100, access_log=None, auto_decompress=False)


@asynccontextmanager
async def open_site(settings: Settings) -> AsyncIterator[Site]:
    """Open a site for the block; its database must exist."""
    async with serving(settings) as (service, server, session):
        postgres = await asyncpg.connect(settings.database_url)
        try:
            token = await service.use_cases.tokens.create("test", scopes=SCOPES)
            bare = Site(service, server, session, postgres, token, organization_id=0, project_id=0)
            organization = await bare.send(
                "POST", "/api/0/organizations/", json={"name": "The Jurisdiction", "slug": ORGANIZATION}
            )
            project = await bare.new_project(bare.project)
            assert (organization.status, project.status) == (201, 201)
            yield replace(bare, organization_id=int(organization.body["id"]), project_id=int(project.body["id"]))
        finally:
            await postgres.close()


async def stored(site: Site) -> dict[str, int]:
    """Count the rows of each table that a write can change."""
    row = await site.postgres.fetchrow(
        """
        SELECT (SELECT count(*) FROM organization) AS organizations,
               (SELECT count(*) FROM project) AS projects,
               (SELECT count(*) FROM project_key) AS keys,
               (SELECT count(*) FROM outbox) AS events,
               (SELECT count(*) FROM audit_entry) AS audit_entries
        """
    )
    assert row is not None
    return dict(row.items())


def with_more_keys(before: Mapping[str, int], number: int) -> dict[str, int]:
    """Return ``before`` plus ``number`` keys, each with an event and an audit entry."""
    grown = ("keys", "events", "audit_entries")
    return {name: count + number * (name in grown) for name, count in before.items()}


@asynccontextmanager
async def storing_nothing(site: Site) -> AsyncIterator[None]:
    """Fail if the block adds or removes a row."""
    before = await stored(site)
    yield
    assert await stored(site) == before
