"""Renamed projects: former slugs redirect, and redirected writes keep their method and body."""

from typing import Any

import pytest

from tests.http_service import NO_PERMISSION, NOT_FOUND, ORGANIZATION, Site, storing_nothing

SLUG_RULE = (
    "Enter a valid slug consisting of lowercase letters, numbers, underscores or hyphens. "
    "It cannot be entirely numeric."
)
BAD_SLUG = {"slug": [SLUG_RULE]}


def _project(slug: str) -> str:
    return f"/api/0/projects/{ORGANIZATION}/{slug}/"


@pytest.fixture(scope="module")
async def key(site: Site) -> str:
    """A key of a project whose slug was ``formerly`` and is ``renamed``."""
    assert (await site.new_project("formerly", defaultKey=True)).status == 201
    [created] = (await site.send("GET", f"{_project('formerly')}keys/")).body
    changed = await site.send("PUT", _project("formerly"), json={"slug": "renamed"})
    assert (changed.status, changed.body["slug"], changed.body["name"]) == (200, "renamed", "formerly")
    return str(created["id"])


@pytest.mark.parametrize(
    ("method", "rest", "status"),
    [
        ("GET", "", 302),
        ("GET", "keys/", 302),
        ("HEAD", "keys/", 302),
        ("GET", "keys/?status=active&cursor=1:0:0", 302),
        ("GET", "keys/{key}/", 302),
        ("POST", "keys/", 308),
        ("PUT", "keys/{key}/", 308),
        ("DELETE", "keys/{key}/", 308),
        ("PUT", "", 308),
        ("DELETE", "", 308),
    ],
)
async def test_a_former_slug_redirects(site: Site, key: str, method: str, rest: str, status: int) -> None:
    """302 for reads; 308 for writes, which clients repeat unchanged; the query is kept."""
    rest = rest.format(key=key)
    async with storing_nothing(site):
        response = await site.send(method, f"{_project('formerly')}{rest}", allow_redirects=False)
    url = f"{_project('renamed')}{rest}"
    assert (response.status, response.headers["Location"]) == (status, url)
    if method != "HEAD":
        assert response.body == {"slug": "renamed", "detail": {"extra": {"url": url, "slug": "renamed"}}}


async def test_a_redirected_write_is_repeated_unchanged(site: Site, key: str) -> None:
    """With its method, body and token."""
    response = await site.send("PUT", f"{_project('formerly')}keys/{key}/", json={"name": "Through"})
    assert (response.status, response.body["name"]) == (200, "Through")
    created = await site.send("POST", f"{_project('formerly')}keys/", json={"name": "New"})
    assert (created.status, created.body["name"]) == (201, "New")
    assert (await site.send("GET", f"{_project('formerly')}keys/{created.body['id']}/")).body == created.body


async def test_a_redirect_requires_authorization(site: Site, key: str) -> None:
    """A token of another organization or with an insufficient scope gets 403."""
    assert key
    await site.send("POST", "/api/0/organizations/", json={"name": "Other", "slug": "other"})
    for token in (await site.new_token(organization="other"), await site.new_token("org:read")):
        response = await site.send("GET", _project("formerly"), token=token, allow_redirects=False)
        assert (response.status, response.body) == (403, NO_PERMISSION)


async def test_a_new_project_can_take_a_former_slug(site: Site) -> None:
    """Then the slug no longer redirects, and is in use."""
    await site.new_project("first-name")
    await site.send("PUT", _project("first-name"), json={"slug": "second-name"})
    taken = await site.new_project("first-name")
    assert (await site.send("GET", _project("first-name"))).body == taken.body
    assert (await site.send("PUT", _project("second-name"), json={"slug": "first-name"})).status == 409


async def test_renaming_back_makes_no_redirect_loop(site: Site) -> None:
    """The current slug never redirects."""
    await site.new_project("there")
    await site.send("PUT", _project("there"), json={"slug": "back"})
    await site.send("PUT", _project("back"), json={"slug": "there"})
    assert (await site.send("GET", _project("there"))).body["slug"] == "there"
    response = await site.send("GET", _project("back"), allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, _project("there"))


async def test_a_former_slug_of_a_deleted_project_is_404(site: Site) -> None:
    """As is its last slug."""
    await site.new_project("to-go")
    await site.send("PUT", _project("to-go"), json={"slug": "gone"})
    assert (await site.send("DELETE", _project("gone"))).status == 204
    for slug in ("to-go", "gone"):
        response = await site.send("GET", _project(slug))
        assert (response.status, response.body) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"slug": "12345"}, BAD_SLUG),
        ({"slug": "Upper"}, BAD_SLUG),
        ({"slug": "x" * 51}, BAD_SLUG),
        ({"slug": ""}, BAD_SLUG),
        ({"slug": None}, {"slug": ["This field may not be null."]}),
        ({"slug": 7}, BAD_SLUG),
        ({"name": "x" * 65}, {"name": ["Ensure this field has no more than 64 characters."]}),
        ({"name": [], "slug": "a b"}, {"name": ["Not a valid string."], **BAD_SLUG}),
    ],
)
async def test_an_invalid_name_or_slug_is_400(site: Site, body: Any, errors: Any) -> None:
    """The project is unchanged."""
    async with storing_nothing(site):
        response = await site.send("PUT", _project(site.project), json=body)
    assert (response.status, response.body) == (400, errors)


async def test_an_organization_can_be_read_and_changed(site: Site) -> None:
    """By id and by slug; the DSNs of its keys contain a changed ingest URL immediately."""
    path = "/api/0/organizations/changing/"
    created = await site.send("POST", "/api/0/organizations/", json={"name": "Changing", "slug": "changing"})
    assert (await site.send("GET", path)).body == created.body
    assert (await site.send("GET", f"/api/0/organizations/{created.body['id']}/")).body == created.body
    changed = await site.send("PUT", path, json={"name": "Changed", "ingestUrl": "https://in.example/x"})
    assert (changed.status, changed.body) == (
        200,
        {**created.body, "name": "Changed", "ingestUrl": "https://in.example/x"},
    )
    await site.send("POST", f"{path}projects/", json={"name": "p"})
    [key] = (await site.send("GET", "/api/0/projects/changing/p/keys/")).body
    assert "@in.example/x/" in key["dsn"]["public"]
    for url in ("ftp://x", "https://x/", "x", 5, "https://a b", "https://x?y=1"):
        refused = await site.send("PUT", path, json={"ingestUrl": url})
        assert refused.status == 400
        assert list(refused.body) == ["ingestUrl"]
    assert (await site.send("PUT", path, json={"ingestUrl": None})).body["ingestUrl"] is None
