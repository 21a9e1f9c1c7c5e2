"""Renamed projects: their former names lead to them, and no write is lost on the way."""

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
    """A key of a project that was called ``formerly`` and is called ``renamed``."""
    assert (await site.new_project("formerly", defaultKey=True)).status == 201
    [made] = (await site.send("GET", f"{_project('formerly')}keys/")).body
    changed = await site.send("PUT", _project("formerly"), json={"slug": "renamed"})
    assert (changed.status, changed.body["slug"], changed.body["name"]) == (200, "renamed", "formerly")
    return str(made["id"])


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
async def test_its_former_name_leads_to_it(site: Site, key: str, method: str, rest: str, status: int) -> None:
    """302 for reads, 308 for writes, which clients then send again as they were; the query goes along."""
    rest = rest.format(key=key)
    async with storing_nothing(site):
        answer = await site.send(method, f"{_project('formerly')}{rest}", allow_redirects=False)
    url = f"{_project('renamed')}{rest}"
    assert (answer.status, answer.headers["Location"]) == (status, url)
    if method != "HEAD":
        assert answer.body == {"slug": "renamed", "detail": {"extra": {"url": url, "slug": "renamed"}}}


async def test_a_client_that_follows_writes_what_it_meant(site: Site, key: str) -> None:
    """Method, body and token arrive."""
    answer = await site.send("PUT", f"{_project('formerly')}keys/{key}/", json={"name": "Through"})
    assert (answer.status, answer.body["name"]) == (200, "Through")
    made = await site.send("POST", f"{_project('formerly')}keys/", json={"name": "New"})
    assert (made.status, made.body["name"]) == (201, "New")
    assert (await site.send("GET", f"{_project('formerly')}keys/{made.body['id']}/")).body == made.body


async def test_who_may_not_is_not_led_anywhere(site: Site, key: str) -> None:
    """Another organization's token and too small a scope learn nothing."""
    assert key
    await site.send("POST", "/api/0/organizations/", json={"name": "Curious", "slug": "curious"})
    for token in (await site.new_token(organization="curious"), await site.new_token("org:read")):
        answer = await site.send("GET", _project("formerly"), token=token, allow_redirects=False)
        assert (answer.status, answer.body) == (403, NO_PERMISSION)


async def test_a_project_that_takes_a_former_name_has_it(site: Site) -> None:
    """Until it is gone; then nobody has."""
    await site.new_project("first-name")
    await site.send("PUT", _project("first-name"), json={"slug": "second-name"})
    taken = await site.new_project("first-name")
    assert (await site.send("GET", _project("first-name"))).body == taken.body
    assert (await site.send("PUT", _project("second-name"), json={"slug": "first-name"})).status == 409


async def test_a_name_given_back_leads_round_in_no_circle(site: Site) -> None:
    """There and back again."""
    await site.new_project("there")
    await site.send("PUT", _project("there"), json={"slug": "back"})
    await site.send("PUT", _project("back"), json={"slug": "there"})
    assert (await site.send("GET", _project("there"))).body["slug"] == "there"
    answer = await site.send("GET", _project("back"), allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, _project("there"))


async def test_a_deleted_projects_former_name_leads_nowhere(site: Site) -> None:
    """404, as its last one."""
    await site.new_project("to-go")
    await site.send("PUT", _project("to-go"), json={"slug": "gone"})
    assert (await site.send("DELETE", _project("gone"))).status == 204
    for slug in ("to-go", "gone"):
        answer = await site.send("GET", _project(slug))
        assert (answer.status, answer.body) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("body", "refusal"),
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
async def test_what_is_no_name_is_refused(site: Site, body: Any, refusal: Any) -> None:
    """400, and the project is as it was."""
    async with storing_nothing(site):
        answer = await site.send("PUT", _project(site.project), json=body)
    assert (answer.status, answer.body) == (400, refusal)


async def test_an_organization_can_be_read_and_changed(site: Site) -> None:
    """By id and by slug; another ingest URL stands in the DSNs of its keys at once."""
    path = "/api/0/organizations/changing/"
    made = await site.send("POST", "/api/0/organizations/", json={"name": "Changing", "slug": "changing"})
    assert (await site.send("GET", path)).body == made.body
    assert (await site.send("GET", f"/api/0/organizations/{made.body['id']}/")).body == made.body
    changed = await site.send("PUT", path, json={"name": "Changed", "ingestUrl": "https://in.example/x"})
    assert (changed.status, changed.body) == (
        200,
        {**made.body, "name": "Changed", "ingestUrl": "https://in.example/x"},
    )
    await site.send("POST", f"{path}projects/", json={"name": "p"})
    [key] = (await site.send("GET", "/api/0/projects/changing/p/keys/")).body
    assert "@in.example/x/" in key["dsn"]["public"]
    for url in ("ftp://x", "https://x/", "x", 5, "https://a b", "https://x?y=1"):
        refused = await site.send("PUT", path, json={"ingestUrl": url})
        assert refused.status == 400
        assert list(refused.body) == ["ingestUrl"]
    assert (await site.send("PUT", path, json={"ingestUrl": None})).body["ingestUrl"] is None
