"""The service on its real ports, for the HTTP tests, and what a refusal must leave alone."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
from aiohttp import ClientSession, ClientTimeout
from yarl import URL

from service.app import Service, build
from service.dev.ports import free_port
from service.domain.scopes import SCOPES
from service.server import listening
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
"""The headers of every answer, refusals too."""

_PATIENCE = 10.0
"""Seconds until a test gives up on an answer."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: ``body`` is the JSON value, the text where it is none, or None where it is empty."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """A service on its ports, one organization with one project without keys, and a token for everything."""

    service: Service
    session: ClientSession
    postgres: "asyncpg.Connection[asyncpg.Record]"
    token: str
    organization_id: int
    project_id: int
    project: str = "pump-station"

    @property
    def keys_path(self) -> str:
        """Where the project's keys are."""
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
        """A request with the token of the site; with another if it is named, with none if that is empty."""
        bearer = self.token if token is None else token
        said = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        async with self.session.request(
            method, path, headers={**said, **(headers or {})}, **body
        ) as response:
            raw = await response.read()
        is_json = response.headers.get("Content-Type") == "application/json" and raw
        value = json.loads(raw) if is_json else raw.decode() or None  # orjson refuses the half of a character
        return Response(response.status, response.headers, value, raw)

    async def create(self, body: Any, **options: Any) -> Response:
        """``POST …/keys/`` with a JSON body."""
        return await self.send("POST", self.keys_path, json=body, **options)

    async def post(self, raw: bytes, *, content_type: str = "application/json") -> Response:
        """``POST …/keys/`` with these bytes."""
        return await self.send("POST", self.keys_path, data=raw, headers={"Content-Type": content_type})

    async def new_project(self, slug: str, **body: Any) -> Response:
        """``POST …/projects/`` in the site's organization; without a first key unless one is asked for."""
        path = f"/api/0/organizations/{ORGANIZATION}/projects/"
        return await self.send("POST", path, json={"name": slug, "slug": slug, "defaultKey": False, **body})

    async def new_token(self, *scopes: str, organization: str | None = None) -> str:
        """A token with these scopes; with all of them if none is named."""
        return await self.service.api.tokens.create(
            "test", scopes=scopes or SCOPES, organization=organization
        )

    async def exchange(self, request: bytes) -> bytes:
        """All that comes back for these bytes on a connection of their own, until the service closes it."""
        return await exchange(self.service.settings.port, request, timeout=_PATIENCE)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Service, ClientSession]]:
    """The service on free ports, as in production but without its publisher, and a client of it."""
    joined = build(replace(settings, host="127.0.0.1", port=free_port(), ops_port=free_port()))
    await joined.database.start()
    session = ClientSession(
        f"http://127.0.0.1:{joined.settings.port}", timeout=ClientTimeout(total=_PATIENCE)
    )
    try:
        async with session, listening(joined):
            yield joined, session
    finally:
        await joined.database.close()


@asynccontextmanager
async def open_site(settings: Settings) -> AsyncIterator[Site]:
    """A site, for the time of the block; its database must be there."""
    async with serving(settings) as (joined, session):
        postgres = await asyncpg.connect(settings.database_url)
        try:
            token = await joined.api.tokens.create("test", scopes=SCOPES)
            bare = Site(joined, session, postgres, token, organization_id=0, project_id=0)
            organization = await bare.send(
                "POST", "/api/0/organizations/", json={"name": "The Jurisdiction", "slug": ORGANIZATION}
            )
            project = await bare.new_project(bare.project)
            assert (organization.status, project.status) == (201, 201)
            yield replace(
                bare, organization_id=int(organization.body["id"]), project_id=int(project.body["id"])
            )
        finally:
            await postgres.close()


async def stored(site: Site) -> dict[str, int]:
    """How many rows each table holds that a write could touch."""
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
    """``before`` after ``number`` keys more, each with its event and its audit entry."""
    grown = ("keys", "events", "audit_entries")
    return {name: count + number * (name in grown) for name, count in before.items()}


@asynccontextmanager
async def storing_nothing(site: Site) -> AsyncIterator[None]:
    """Fails if the block leaves a row behind, or takes one away."""
    before = await stored(site)
    yield
    assert await stored(site) == before
