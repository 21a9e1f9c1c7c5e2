"""Reading keys: one, the newest, none."""

import asyncio

import pytest
from yarl import URL

from tests.http_service import COMMON_HEADERS, NOT_FOUND, ORGANIZATION, Site

UNKNOWN = "0123456789abcdef" * 2


async def test_a_key_is_read_as_it_was_made(site: Site) -> None:
    """The same bytes, whoever may read them, and the methods of a key."""
    made = await site.create({"name": "Fabulous Key", "rateLimit": {"window": 60, "count": 10}})
    path = f"{site.keys_path}{made.body['id']}/"
    answer = await site.send("GET", path, token=await site.new_token("project:read"))
    assert (answer.status, answer.raw) == (200, made.raw)
    expected = {**COMMON_HEADERS, "Content-Type": "application/json", "Allow": "GET, HEAD, OPTIONS"}
    assert {name: answer.headers.get(name) for name in COMMON_HEADERS} == COMMON_HEADERS
    assert answer.headers["Content-Type"] == expected["Content-Type"]
    assert {"GET", "HEAD", "OPTIONS"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize("project", ["id", "slug"])
@pytest.mark.parametrize("organization", ["id", "slug"])
async def test_organization_and_project_go_by_id_or_slug(site: Site, organization: str, project: str) -> None:
    """Each independently of the other, for reading and for writing."""
    names = {"id": site.organization_id, "slug": ORGANIZATION}
    projects = {"id": site.project_id, "slug": site.project}
    path = f"/api/0/projects/{names[organization]}/{projects[project]}/keys/"
    made = await site.send("POST", path, json={})
    assert made.status == 201
    assert (await site.send("GET", f"{path}{made.body['id']}/")).raw == made.raw
    assert (await site.send("GET", path)).body[0] == made.body


@pytest.mark.parametrize(
    "change", [str.upper, lambda _: UNKNOWN, lambda key: key[:31], lambda key: key + "0"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_is_not_exactly_a_key_of_the_project_is_404(
    site: Site, method: str, change: object
) -> None:
    """Upper case, an unknown one, one digit too few or too many."""
    assert callable(change)
    key = (await site.create({"public": None})).body["id"]
    answer = await site.send(method, f"{site.keys_path}{change(key)}/")
    assert (answer.status, answer.body) == (404, None if method == "HEAD" else NOT_FOUND)


@pytest.mark.parametrize("part", ["%7Bx%7D", "{x}", "a%2Fb", "a%0Ab", "%00", "..%2f", "%ED%A0%80"])
async def test_a_part_of_a_path_may_be_of_any_characters(site: Site, part: str) -> None:
    """Nothing has such a name: the API's own 404, and its own 401 for who has no token."""
    for path in (f"/api/0/organizations/{part}/", f"/api/0/projects/{ORGANIZATION}/{part}/keys/"):
        url = URL(path, encoded=True)
        answer = await site.send("GET", url, token="")
        assert (answer.status, answer.body["detail"]) == (
            401,
            "Authentication credentials were not provided.",
        )
        answer = await site.send("GET", url)
        assert (answer.status, answer.body) == (404, NOT_FOUND)


async def test_a_row_id_is_no_key(site: Site) -> None:
    """Keys go by their public half alone."""
    key = (await site.create({})).body["id"]
    number = await site.postgres.fetchval("SELECT id FROM project_key WHERE public_key = $1", key)
    assert (await site.send("GET", f"{site.keys_path}{number}/")).status == 404


async def test_a_key_of_another_project_is_404(site: Site) -> None:
    """Also where the other project is of the same organization."""
    assert (await site.new_project("not-its-own")).status == 201
    key = (await site.create({})).body["id"]
    answer = await site.send("GET", f"{site.keys_path.replace(site.project, 'not-its-own')}{key}/")
    assert (answer.status, answer.body) == (404, NOT_FOUND)


async def test_keys_read_at_once_do_not_get_mixed_up(site: Site) -> None:
    """Each caller gets the key of its own path, or its own 404."""
    made = await asyncio.gather(*(site.create({"name": f"key {number}"}) for number in range(30)))
    paths = [f"{site.keys_path}{one.body['id']}/" for one in made] + [f"{site.keys_path}{UNKNOWN}/"] * 5
    answers = await asyncio.gather(*(site.send("GET", path) for path in paths))
    assert [answer.raw for answer in answers[:30]] == [one.raw for one in made]
    assert [answer.status for answer in answers[30:]] == [404] * 5


@pytest.mark.parametrize("number", [0, 1, 2, 10, 11, 12])
async def test_a_list_has_the_ten_newest_keys_and_links_to_its_neighbours(site: Site, number: int) -> None:
    """Newest first; the links go by the configured address, whatever host the request names."""
    slug = f"with-{number}"
    assert (await site.new_project(slug)).status == 201
    path = site.keys_path.replace(site.project, slug)
    made = [(await site.send("POST", path, json={"name": f"key {one}"})).body for one in range(number)]
    answer = await site.send("GET", path, headers={"Host": "evil.example"})
    assert (answer.status, answer.body) == (200, made[::-1][:10])
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
    assert answer.headers["Link"] == (
        f'<{url}{previous}>; rel="previous"; results="false"; cursor="{previous}", '
        f'<{url}{following}>; rel="next"; results="{"true" if number > 10 else "false"}"; cursor="{following}"'
    )


async def test_other_parameters_stay_in_the_links_and_cannot_break_out(site: Site) -> None:
    """A caller's text is encoded again: no second header, no end of the address."""
    assert (await site.new_project("with-parameters")).status == 201
    path = site.keys_path.replace(site.project, "with-parameters")
    answer = await site.send("GET", f"{path}?a=1&b=%3E%0D%0ASet-Cookie:%20x&cursor=")
    url = f"https://keys.example.com{path}?a=1&b=%3E%0D%0ASet-Cookie%3A+x&cursor="
    assert answer.status == 200
    assert answer.headers["Link"] == (
        f'<{url}0:0:1>; rel="previous"; results="false"; cursor="0:0:1", '
        f'<{url}0:0:0>; rel="next"; results="false"; cursor="0:0:0"'
    )
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("which", ["list", "key"])
async def test_head_is_get_without_a_body(site: Site, which: str) -> None:
    """The same status and the same headers, the length of the body among them."""
    key = (await site.create({})).body["id"]
    path = site.keys_path + {"list": "", "key": f"{key}/"}[which]
    head, get = await site.send("HEAD", path), await site.send("GET", path)
    own = {"x-request-id", "date"}
    assert (head.status, head.raw) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(get.raw) > 0
    assert {name: value for name, value in head.headers.items() if name.lower() not in own} == {
        name: value for name, value in get.headers.items() if name.lower() not in own
    }
