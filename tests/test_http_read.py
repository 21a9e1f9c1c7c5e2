"""Reading a key and the first page of a list."""

import asyncio

import pytest
from yarl import URL

from tests.http_service import COMMON_HEADERS, NOT_FOUND, ORGANIZATION, Site

UNKNOWN = "0123456789abcdef" * 2


async def test_a_key_is_read_as_it_was_created(site: Site) -> None:
    """The same bytes for every authorized token, with the methods of a key."""
    created = await site.create({"name": "Fabulous Key", "rateLimit": {"window": 60, "count": 10}})
    path = f"{site.keys_path}{created.body['id']}/"
    response = await site.send("GET", path, token=await site.new_token("project:read"))
    assert (response.status, response.raw) == (200, created.raw)
    expected = {**COMMON_HEADERS, "Content-Type": "application/json", "Allow": "GET, HEAD, OPTIONS"}
    assert {name: response.headers.get(name) for name in COMMON_HEADERS} == COMMON_HEADERS
    assert response.headers["Content-Type"] == expected["Content-Type"]
    assert {"GET", "HEAD", "OPTIONS"} <= set(response.headers["Allow"].split(", "))


@pytest.mark.parametrize("project", ["id", "slug"])
@pytest.mark.parametrize("organization", ["id", "slug"])
async def test_organization_and_project_are_found_by_id_or_slug(site: Site, organization: str, project: str) -> None:
    """Independently of each other, for reads and writes."""
    names = {"id": site.organization_id, "slug": ORGANIZATION}
    projects = {"id": site.project_id, "slug": site.project}
    path = f"/api/0/projects/{names[organization]}/{projects[project]}/keys/"
    created = await site.send("POST", path, json={})
    assert created.status == 201
    assert (await site.send("GET", f"{path}{created.body['id']}/")).raw == created.raw
    assert (await site.send("GET", path)).body[0] == created.body


@pytest.mark.parametrize("change", [str.upper, lambda _: UNKNOWN, lambda key: key[:31], lambda key: key + "0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_unknown_or_malformed_key_is_404(site: Site, method: str, change: object) -> None:
    """Upper case, an unknown key, a digit too few or too many."""
    assert callable(change)
    key = (await site.create({"public": None})).body["id"]
    response = await site.send(method, f"{site.keys_path}{change(key)}/")
    assert (response.status, response.body) == (404, None if method == "HEAD" else NOT_FOUND)


@pytest.mark.parametrize("part", ["%7Bx%7D", "{x}", "a%2Fb", "a%0Ab", "%00", "..%2f", "%ED%A0%80"])
async def test_an_id_or_slug_in_a_path_may_have_any_characters(site: Site, part: str) -> None:
    """It is not found: the 404 of the API, or its 401 without a token."""
    for path in (f"/api/0/organizations/{part}/", f"/api/0/projects/{ORGANIZATION}/{part}/keys/"):
        url = URL(path, encoded=True)
        response = await site.send("GET", url, token="")
        assert (response.status, response.body["detail"]) == (
            401,
            "Authentication credentials were not provided.",
        )
        response = await site.send("GET", url)
        assert (response.status, response.body) == (404, NOT_FOUND)


async def test_a_row_id_does_not_find_a_key(site: Site) -> None:
    """Keys are found by their public key only."""
    key = (await site.create({})).body["id"]
    number = await site.postgres.fetchval("SELECT id FROM project_key WHERE public_key = $1", key)
    assert (await site.send("GET", f"{site.keys_path}{number}/")).status == 404


async def test_a_key_of_another_project_is_404(site: Site) -> None:
    """Also if the other project belongs to the same organization."""
    assert (await site.new_project("not-its-own")).status == 201
    key = (await site.create({})).body["id"]
    response = await site.send("GET", f"{site.keys_path.replace(site.project, 'not-its-own')}{key}/")
    assert (response.status, response.body) == (404, NOT_FOUND)


async def test_concurrent_reads_are_not_mixed_up(site: Site) -> None:
    """Each request gets the key in its path, or 404."""
    created = await asyncio.gather(*(site.create({"name": f"key {number}"}) for number in range(30)))
    paths = [f"{site.keys_path}{key.body['id']}/" for key in created] + [f"{site.keys_path}{UNKNOWN}/"] * 5
    responses = await asyncio.gather(*(site.send("GET", path) for path in paths))
    assert [response.raw for response in responses[:30]] == [key.raw for key in created]
    assert [response.status for response in responses[30:]] == [404] * 5


@pytest.mark.parametrize("number", [0, 1, 2, 10, 11, 12])
async def test_a_list_has_the_ten_newest_keys_and_links_to_both_neighbours(site: Site, number: int) -> None:
    """Newest first; the links have the configured host, whatever the request contains."""
    slug = f"with-{number}"
    assert (await site.new_project(slug)).status == 201
    path = site.keys_path.replace(site.project, slug)
    created = [(await site.send("POST", path, json={"name": f"key {i}"})).body for i in range(number)]
    response = await site.send("GET", path, headers={"Host": "evil.example"})
    assert (response.status, response.body) == (200, created[::-1][:10])
    rows = await site.postgres.fetch(
        "SELECT key.id FROM project_key AS key JOIN project ON project.id = project_id WHERE slug = $1"
        " ORDER BY key.id DESC",
        slug,
    )
    ids = [row["id"] for row in rows]
    following = {0: "0:0:0", 1: f"{ids[-1]}:10:0" if ids else ""}.get(number, f"{ids[-1]}:1:0" if ids else "")
    if number > 10:
        following = f"{ids[10]}:0:0"
    previous = f"{ids[0] if ids else 0}:0:1"
    url = f"https://keys.example.com{path}?&cursor="
    assert response.headers["Link"] == (
        f'<{url}{previous}>; rel="previous"; results="false"; cursor="{previous}", '
        f'<{url}{following}>; rel="next"; results="{"true" if number > 10 else "false"}"; cursor="{following}"'
    )


async def test_other_parameters_are_kept_and_encoded_in_the_links(site: Site) -> None:
    """Text of the request cannot add a header or end the URL."""
    assert (await site.new_project("with-parameters")).status == 201
    path = site.keys_path.replace(site.project, "with-parameters")
    response = await site.send("GET", f"{path}?a=1&b=%3E%0D%0ASet-Cookie:%20x&cursor=")
    url = f"https://keys.example.com{path}?a=1&b=%3E%0D%0ASet-Cookie%3A+x&cursor="
    assert response.status == 200
    assert response.headers["Link"] == (
        f'<{url}0:0:1>; rel="previous"; results="false"; cursor="0:0:1", '
        f'<{url}0:0:0>; rel="next"; results="false"; cursor="0:0:0"'
    )
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("which", ["list", "key"])
async def test_head_is_get_without_a_body(site: Site, which: str) -> None:
    """The same status and the same headers, including Content-Length."""
    key = (await site.create({})).body["id"]
    path = site.keys_path + {"list": "", "key": f"{key}/"}[which]
    head, get = await site.send("HEAD", path), await site.send("GET", path)
    variable = {"x-request-id", "date"}
    assert (head.status, head.raw) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(get.raw) > 0
    assert {name: value for name, value in head.headers.items() if name.lower() not in variable} == {
        name: value for name, value in get.headers.items() if name.lower() not in variable
    }
