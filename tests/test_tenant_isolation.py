"""No tenant reads, changes or detects data of another tenant, on any route."""

import itertools
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from service.http.dispatcher import Resource
from service.http.routes import RESOURCES
from tests.http_service import NO_PERMISSION, NOT_FOUND, ORGANIZATION, Response, Site

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_IN_ORGANIZATION = [resource for resource in RESOURCES if "{organization}" in resource.path]
_IN_PROJECT = [resource for resource in _IN_ORGANIZATION if "{project}" in resource.path]
_VARIABLE_HEADERS = ("date", "x-request-id", "content-length")
_RATE_LIMIT_HEADERS = "x-sentry-rate-limit-"
_MISSING = {
    "organization": "no-such-organization",
    "project": "no-such-project",
    "key_id": "0" * 32,
    "key_name": "none",
    "team": "no-such-team",
}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The names of another tenant's organization, project and key, for each part of a path."""

    names: Mapping[str, tuple[str, ...]]
    secrets: tuple[bytes, ...]
    """What no response to another tenant may contain."""


@pytest.fixture(scope="module")
async def neighbour(site: Site) -> Neighbour:
    """It also has a redirect and an idempotency key."""
    organizations = "/api/0/organizations/"
    organization = await site.send("POST", organizations, json={"name": "Nosy", "slug": "next-door"})
    project = await site.send(
        "POST", f"{organizations}next-door/projects/", json={"name": "Theirs", "slug": "theirs"}
    )
    project_path = f"/api/0/projects/next-door/{project.body['id']}/"
    await site.send("PUT", project_path, json={"slug": "neighbour-renamed"})
    idempotency = {"Idempotency-Key": "theirs"}
    key = await site.send("POST", f"{project_path}keys/", json={"name": "Confidential"}, headers=idempotency)
    assert key.status == 201
    return Neighbour(
        {
            "organization": ("next-door", organization.body["id"]),
            "project": ("neighbour-renamed", "theirs", project.body["id"]),
            "key_id": (key.body["id"],),
            "key_name": (key.body["name"],),
            "team": ("next-door", organization.body["id"]),
        },
        (
            b"Confidential",
            b"neighbour-renamed",
            key.body["id"].encode(),
            key.body["secret"].encode(),
            b"Nosy",
        ),
    )


@pytest.fixture(scope="module")
async def bound(site: Site) -> str:
    """A token with all scopes that is bound to the site's organization."""
    return await site.new_token(organization=ORGANIZATION)


def _paths(resource: Resource, names: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    parts = re.findall(r"{(\w+)}", resource.path)
    for combination in itertools.product(*(names[part] for part in parts)):
        yield resource.path.format(**dict(zip(parts, combination, strict=True)))


async def _send(site: Site, method: str, path: str, token: str) -> Response:
    # Also with the Idempotency-Key that the neighbour has used.
    return await site.send(
        method,
        path,
        token=token,
        json={"name": "Mine"},
        headers={"Idempotency-Key": "theirs"},
        allow_redirects=False,
    )


def _visible(response: Response) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """Return everything in a response that could depend on another tenant."""
    headers = {
        name.lower(): value
        for name, value in response.headers.items()
        if name.lower() not in _VARIABLE_HEADERS and not name.lower().startswith(_RATE_LIMIT_HEADERS)
    }
    return response.status, response.raw, tuple(sorted(headers.items()))


_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'api_token'
"""


async def _checksums(site: Site) -> dict[str, str | None]:
    """Return a checksum of each table except for that of tokens, which records their last use."""
    return {
        row["relname"]: await site.postgres.fetchval(
            f"SELECT md5(string_agg(entry::text, '' ORDER BY entry::text)) FROM {row['relname']} AS entry"  # noqa: S608 -- names from pg_class
        )
        for row in await site.postgres.fetch(_TABLES)
    }


@asynccontextmanager
async def _changing_nothing(site: Site) -> AsyncIterator[None]:
    before = await _checksums(site)
    yield
    assert await _checksums(site) == before


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("resource", _IN_ORGANIZATION, ids=lambda resource: resource.path)
async def test_another_organization_looks_like_one_that_does_not_exist(
    site: Site, neighbour: Neighbour, bound: str, resource: Resource, method: str
) -> None:
    """All headers are equal, whichever other parts of the path exist; nothing is changed."""
    missing = {part: (name,) for part, name in _MISSING.items()}
    own = {"project": (site.project, str(site.project_id))}
    async with _changing_nothing(site):
        expected = {_visible(await _send(site, method, path, bound)) for path in _paths(resource, missing)}
        for names in (
            neighbour.names,
            {**neighbour.names, **own},
            {**missing, **own},
            {**neighbour.names, "key_id": ("x",)},
        ):
            for path in _paths(resource, names):
                assert {_visible(await _send(site, method, path, bound))} == expected, path
    [(status, raw, _)] = expected
    assert status == (405 if method not in {*resource.methods, *_head(resource)} else 403)
    assert method == "HEAD" or b"detail" in raw


def _head(resource: Resource) -> set[str]:
    return {"HEAD"} if "GET" in resource.methods else set()


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("resource", _IN_PROJECT, ids=lambda resource: resource.path)
async def test_a_foreign_project_or_key_in_the_own_organization_looks_like_one_that_does_not_exist(
    site: Site, neighbour: Neighbour, bound: str, resource: Resource, method: str
) -> None:
    """For a bound token and for an unbound one."""
    organization = (ORGANIZATION, str(site.organization_id))
    missing = {
        "organization": organization,
        "project": (_MISSING["project"],),
        "key_id": (_MISSING["key_id"],),
        "key_name": (_MISSING["key_name"],),
    }
    foreign = [{**neighbour.names, "organization": organization}]
    if "{key_id}" in resource.path:
        project = (site.project, str(site.project_id))
        foreign.append({**neighbour.names, "organization": organization, "project": project})
    for token in (bound, site.token):
        async with _changing_nothing(site):
            expected = {_visible(await _send(site, method, path, token)) for path in _paths(resource, missing)}
            for path in itertools.chain.from_iterable(_paths(resource, names) for names in foreign):
                assert {_visible(await _send(site, method, path, token))} == expected, path
        assert {status for status, _, _ in expected} <= {404, 405}


@pytest.mark.parametrize(
    "resource",
    # `test_event_stream` checks the stream, which does not end.
    [each for each in RESOURCES if "GET" in each.methods and not each.path.endswith("/stream/")],
    ids=lambda resource: resource.path,
)
async def test_readable_resources_contain_nothing_of_the_neighbour(
    site: Site, neighbour: Neighbour, bound: str, resource: Resource
) -> None:
    """Lists, the audit log and resources without a tenant in their path, with the largest page."""
    own = (await site.create({}, token=bound)).body["id"]
    names = {"organization": (ORGANIZATION,), "project": (site.project,), "key_id": (own,), "team": (ORGANIZATION,)}
    for path in _paths(resource, names):
        response = await site.send("GET", f"{path}?per_page=100", token=bound)
        assert response.status == 200
        assert not [secret for secret in neighbour.secrets if secret in response.raw]


async def test_only_an_unbound_token_creates_organizations(site: Site, bound: str) -> None:
    """Organizations belong to no other organization."""
    async with _changing_nothing(site):
        response = await _send(site, "POST", "/api/0/organizations/", bound)
    assert (response.status, response.body) == (403, NO_PERMISSION)


async def test_a_key_of_the_neighbour_is_reported_like_an_own_duplicate(
    site: Site, neighbour: Neighbour, bound: str
) -> None:
    """Keys are unique over all tenants; the error does not depend on the tenant."""
    own = (await site.create({}, token=bound)).body["id"]
    async with _changing_nothing(site):
        responses = [await site.create({"public": key}, token=bound) for key in (own, neighbour.names["key_id"][0])]
    assert len({(response.status, response.raw) for response in responses}) == 1
    assert responses[0].status == 400


async def test_an_idempotency_key_belongs_to_its_token(site: Site, neighbour: Neighbour, bound: str) -> None:
    """With the idempotency key of the neighbour, another token creates its own key."""
    response = await _send(site, "POST", site.keys_path, bound)
    assert (response.status, "Idempotent-Replayed" in response.headers) == (201, False)
    assert not [secret for secret in neighbour.secrets if secret in response.raw]
    missing = await site.send("GET", f"{site.keys_path}{neighbour.names['key_id'][0]}/", token=bound)
    assert (missing.status, missing.body) == (404, NOT_FOUND)
