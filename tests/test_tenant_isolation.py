"""No tenant sees, touches or learns of another's: on every route that there is, by whatever name."""

import itertools
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from service.http.routes import RESOURCES, Resource
from tests.http_service import NO_PERMISSION, NOT_FOUND, ORGANIZATION, Response, Site

_EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_TENANTS = [one for one in RESOURCES if "{organization}" in one.path]
_BELOW = [one for one in _TENANTS if "{project}" in one.path]
_BY_CALL = ("date", "x-request-id", "content-length")
_BY_SECOND = "x-sentry-rate-limit-"
_MISSING = {"organization": "no-such-organization", "project": "no-such-project", "key_id": "0" * 32}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another tenant's organization, project and key: each part of a path by its names."""

    names: Mapping[str, tuple[str, ...]]
    marks: tuple[bytes, ...]
    """What an answer to somebody else must not hold."""


@pytest.fixture(scope="module")
async def neighbour(site: Site) -> Neighbour:
    """With a redirect, a deleted key and an idempotency key besides."""
    organizations = "/api/0/organizations/"
    organization = await site.send("POST", organizations, json={"name": "Nosy", "slug": "next-door"})
    project = await site.send(
        "POST", f"{organizations}next-door/projects/", json={"name": "Theirs", "slug": "theirs"}
    )
    of_project = f"/api/0/projects/next-door/{project.body['id']}/"
    await site.send("PUT", of_project, json={"slug": "theirs-now"})
    once = {"Idempotency-Key": "theirs"}
    key = await site.send("POST", f"{of_project}keys/", json={"name": "Confidential"}, headers=once)
    assert key.status == 201
    return Neighbour(
        {
            "organization": ("next-door", organization.body["id"]),
            "project": ("theirs-now", "theirs", project.body["id"]),
            "key_id": (key.body["id"],),
        },
        (b"Confidential", b"theirs-now", key.body["id"].encode(), key.body["secret"].encode(), b"Nosy"),
    )


@pytest.fixture(scope="module")
async def bound(site: Site) -> str:
    """A token of the site's own organization, for all that can be done there."""
    return await site.new_token(organization=ORGANIZATION)


def _paths(resource: Resource, names: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    parts = re.findall(r"{(\w+)}", resource.path)
    for chosen in itertools.product(*(names[part] for part in parts)):
        yield resource.path.format(**dict(zip(parts, chosen, strict=True)))


async def _ask(site: Site, method: str, path: str, token: str) -> Response:
    # The neighbour's own Idempotency-Key, too: what it stands for is theirs.
    return await site.send(
        method,
        path,
        token=token,
        json={"name": "Mine"},
        headers={"Idempotency-Key": "theirs"},
        allow_redirects=False,
    )


def _seen(answer: Response) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """All of an answer that could tell something."""
    told = {
        name.lower(): value
        for name, value in answer.headers.items()
        if name.lower() not in _BY_CALL and not name.lower().startswith(_BY_SECOND)
    }
    return answer.status, answer.raw, tuple(sorted(told.items()))


_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'api_token'
"""


async def _everything(site: Site) -> dict[str, str | None]:
    """A sum over the content of each table, but for the tokens', whose last use is noted."""
    return {
        row["relname"]: await site.postgres.fetchval(
            f"SELECT md5(string_agg(one::text, '' ORDER BY one::text)) FROM {row['relname']} AS one"  # noqa: S608 -- as Postgres has them
        )
        for row in await site.postgres.fetch(_TABLES)
    }


@asynccontextmanager
async def _changing_nothing(site: Site) -> AsyncIterator[None]:
    before = await _everything(site)
    yield
    assert await _everything(site) == before


@pytest.mark.parametrize("method", _EVERY_METHOD)
@pytest.mark.parametrize("resource", _TENANTS, ids=lambda one: one.path)
async def test_another_organization_looks_as_one_that_does_not_exist(
    site: Site, neighbour: Neighbour, bound: str, resource: Resource, method: str
) -> None:
    """To the last header, whatever else in the path exists there, here or nowhere; and nothing is changed."""
    missing = {part: (name,) for part, name in _MISSING.items()}
    own = {"project": (site.project, str(site.project_id))}
    async with _changing_nothing(site):
        expected = {_seen(await _ask(site, method, path, bound)) for path in _paths(resource, missing)}
        for names in (
            neighbour.names,
            {**neighbour.names, **own},
            {**missing, **own},
            {**neighbour.names, "key_id": ("x",)},
        ):
            for path in _paths(resource, names):
                assert {_seen(await _ask(site, method, path, bound))} == expected, path
    [(status, raw, _)] = expected
    assert status == (405 if method not in {*resource.methods, *_head(resource)} else 403)
    assert method == "HEAD" or b"detail" in raw


def _head(resource: Resource) -> set[str]:
    return {"HEAD"} if "GET" in resource.methods else set()


@pytest.mark.parametrize("method", _EVERY_METHOD)
@pytest.mark.parametrize("resource", _BELOW, ids=lambda one: one.path)
async def test_a_foreign_project_or_key_below_ones_own_looks_as_one_that_does_not_exist(
    site: Site, neighbour: Neighbour, bound: str, resource: Resource, method: str
) -> None:
    """For the token of one organization, and for one of all, to whom a path is a path."""
    organization = (ORGANIZATION, str(site.organization_id))
    missing = {
        "organization": organization,
        "project": (_MISSING["project"],),
        "key_id": (_MISSING["key_id"],),
    }
    foreign = [{**neighbour.names, "organization": organization}]
    if "{key_id}" in resource.path:
        project = (site.project, str(site.project_id))
        foreign.append({**neighbour.names, "organization": organization, "project": project})
    for token in (bound, site.token):
        async with _changing_nothing(site):
            expected = {_seen(await _ask(site, method, path, token)) for path in _paths(resource, missing)}
            for path in itertools.chain.from_iterable(_paths(resource, names) for names in foreign):
                assert {_seen(await _ask(site, method, path, token))} == expected, path
        assert {status for status, _, _ in expected} <= {404, 405}


@pytest.mark.parametrize(
    "resource", [one for one in RESOURCES if "GET" in one.methods], ids=lambda one: one.path
)
async def test_what_one_may_read_holds_nothing_of_the_neighbours(
    site: Site, neighbour: Neighbour, bound: str, resource: Resource
) -> None:
    """Lists, the audit and what has no tenant in its path; as many on a page as there can be."""
    own = (await site.create({}, token=bound)).body["id"]
    names = {"organization": (ORGANIZATION,), "project": (site.project,), "key_id": (own,)}
    for path in _paths(resource, names):
        answer = await site.send("GET", f"{path}?per_page=100", token=bound)
        assert answer.status == 200
        assert not [mark for mark in neighbour.marks if mark in answer.raw]


async def test_only_a_token_of_all_makes_organizations(site: Site, bound: str) -> None:
    """The one thing that belongs to no tenant."""
    async with _changing_nothing(site):
        answer = await _ask(site, "POST", "/api/0/organizations/", bound)
    assert (answer.status, answer.body) == (403, NO_PERMISSION)


async def test_a_key_that_a_neighbour_has_is_told_as_taken_and_nothing_more(
    site: Site, neighbour: Neighbour, bound: str
) -> None:
    """Keys are unique over all tenants: the words are those for one's own duplicate."""
    own = (await site.create({}, token=bound)).body["id"]
    async with _changing_nothing(site):
        answers = [
            await site.create({"public": key}, token=bound) for key in (own, neighbour.names["key_id"][0])
        ]
    assert len({(answer.status, answer.raw) for answer in answers}) == 1
    assert answers[0].status == 400


async def test_an_idempotency_key_is_its_tokens_own(site: Site, neighbour: Neighbour, bound: str) -> None:
    """The neighbour's leads to a key of one's own, not to theirs."""
    answer = await _ask(site, "POST", site.keys_path, bound)
    assert (answer.status, "Idempotent-Replayed" in answer.headers) == (201, False)
    assert not [mark for mark in neighbour.marks if mark in answer.raw]
    missing = await site.send("GET", f"{site.keys_path}{neighbour.names['key_id'][0]}/", token=bound)
    assert (missing.status, missing.body) == (404, NOT_FOUND)
