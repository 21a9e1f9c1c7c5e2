"""Lists of keys: pages, cursors and filters."""

from typing import Any

import pytest

from tests.http_service import NO_PERMISSION, NOT_FOUND, ORGANIZATION, Response, Site

ORGANIZATIONS = "/api/0/organizations/"
CURSOR = "Invalid cursor parameter."
PER_PAGE = "Invalid per_page parameter."
RANGE = "Invalid per_page value. Must be between 1 and 100."


@pytest.fixture(scope="module")
async def numbers(site: Site) -> tuple[str, list[int], list[str]]:
    """The list of a project with 25 keys, their row ids and their public keys, oldest first."""
    assert (await site.new_project("twenty-five")).status == 201
    path = site.keys_path.replace(site.project, "twenty-five")
    keys = [(await site.send("POST", path, json={})).body["id"] for _ in range(25)]
    rows = await site.postgres.fetch("SELECT id FROM project_key WHERE public_key = ANY ($1) ORDER BY id", keys)
    return path, [row["id"] for row in rows], keys


def cursors(response: Response) -> dict[str, tuple[str, bool]]:
    """Return the cursor of each relation in the Link header, and whether it has results."""
    links = {}
    for part in response.headers["Link"].split(", "):
        _, relation, results, cursor = (piece.partition("=")[2].strip('"') for piece in part.split("; "))
        links[relation] = (cursor, results == "true")
    return links


# The numbers 1 to 25 stand for the ids of the keys; 0 for none.
PAGES: list[tuple[str, int, tuple[int, int], tuple[str, bool], tuple[str, bool]]] = [
    ("", 10, (25, 16), ("25:0:1", False), ("15:0:0", True)),
    ("15:0:0", 10, (15, 6), ("15:0:1", True), ("5:0:0", True)),
    ("5:0:0", 10, (5, 1), ("5:0:1", True), ("1:1:0", False)),
    ("15:0:1", 10, (25, 16), ("25:0:1", False), ("15:0:0", True)),
    ("14:0:1", 10, (24, 15), ("24:0:1", True), ("14:0:0", True)),
    ("25:0:1", 10, (0, 1), ("0:0:1", False), ("25:0:0", True)),
    ("1:0:0", 10, (1, 1), ("1:0:1", True), ("1:10:0", False)),
    ("1:1:0", 10, (0, 1), ("0:0:1", True), ("1:1:0", False)),
    ("", 25, (25, 1), ("25:0:1", False), ("1:1:0", False)),
    ("", 24, (25, 2), ("25:0:1", False), ("1:0:0", True)),
    ("", 100, (25, 1), ("25:0:1", False), ("1:1:0", False)),
    ("", 1, (25, 25), ("25:0:1", False), ("24:0:0", True)),
    ("24:0:0", 1, (24, 24), ("24:0:1", True), ("23:0:0", True)),
    ("20:5:0", 10, (15, 6), ("15:0:1", True), ("5:0:0", True)),
]


@pytest.mark.parametrize(("cursor", "size", "span", "previous", "following"), PAGES)
async def test_a_cursor_leads_to_its_page_and_to_both_neighbours(
    site: Site,
    numbers: tuple[str, list[int], list[str]],
    cursor: str,
    size: int,
    span: tuple[int, int],
    previous: tuple[str, bool],
    following: tuple[str, bool],
) -> None:
    """The cursors are those of Sentry's API."""
    path, ids, keys = numbers

    def with_ids(cursor: str) -> str:
        number, _, rest = cursor.partition(":")
        return f"{ids[int(number) - 1] if int(number) else 0}:{rest}"

    query = f"?per_page={size}" + (f"&cursor={with_ids(cursor)}" if cursor else "")
    response = await site.send("GET", f"{path}{query}")
    newest, oldest = span
    assert [key["id"] for key in response.body] == keys[oldest - 1 : newest][::-1]
    assert cursors(response) == {
        "previous": (with_ids(previous[0]), previous[1]),
        "next": (with_ids(following[0]), following[1]),
    }


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        *[(f"per_page={value}", RANGE) for value in ("0", "-1", "101", "9" * 30)],
        *[(f"per_page={value}", PER_PAGE) for value in ("", "x", "1.5", "0x10", "ten", "%00", "1%2C000")],
        *[(f"cursor={value}", CURSOR) for value in ("x", "1", "1:2", "1:2:3:4", "a:0:0", "1:b:0", "1:0:c")],
        *[(f"cursor={value}", CURSOR) for value in (":", "::", "1:-1:0", "1:99999999:0", "%00", "1.5:0:0")],
        (f"cursor={'9' * 30}:0:0", CURSOR),
        ("cursor=1:0:0&cursor=x", CURSOR),
        ("per_page=5&per_page=x", PER_PAGE),
        ("per_page=x&cursor=x", PER_PAGE),
    ],
)
@pytest.mark.parametrize("path", ["keys", "project-keys", "projects", "audit-logs"])
async def test_an_invalid_page_is_400(site: Site, path: str, query: str, detail: str) -> None:
    """With the same text on every list."""
    base = site.keys_path if path == "keys" else f"{ORGANIZATIONS}{ORGANIZATION}/{path}/"
    response = await site.send("GET", f"{base}?{query}")
    assert (response.status, response.body) == (400, {"detail": detail})


@pytest.mark.parametrize(
    "query", ["cursor=", "cursor=0:0:0", "per_page=10", "per_page=%2010", "cursor=x&cursor=", "unknown=1"]
)
async def test_these_parameters_select_the_first_page(
    site: Site, numbers: tuple[str, list[int], list[str]], query: str
) -> None:
    """Of a repeated parameter the last one counts; unknown parameters are ignored."""
    path, _, keys = numbers
    response = await site.send("GET", f"{path}?{query}")
    assert [key["id"] for key in response.body] == keys[15:][::-1]


@pytest.fixture(scope="module")
async def half_inactive(site: Site) -> tuple[str, list[str]]:
    """The list of a project with 8 keys, and their public keys, oldest first: every other one is inactive."""
    assert (await site.new_project("half-inactive")).status == 201
    path = site.keys_path.replace(site.project, "half-inactive")
    keys = [(await site.send("POST", path, json={})).body["id"] for _ in range(8)]
    for key in keys[::2]:
        assert (await site.send("PUT", f"{path}{key}/", json={"isActive": False})).status == 200
    return path, keys


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", slice(None)),
        ("status=", slice(None)),
        ("status=active", slice(1, None, 2)),
        ("status=inactive", slice(0, None, 2)),
        ("status=Active", slice(0, 0)),
        ("status=all", slice(0, 0)),
        ("status=%00", slice(0, 0)),
        ("status=inactive&status=active", slice(1, None, 2)),
    ],
)
@pytest.mark.parametrize("owner", ["the project", "the organization"])
async def test_a_status_selects_its_keys(
    site: Site, half_inactive: tuple[str, list[str]], owner: str, query: str, expected: slice
) -> None:
    """An unknown status selects none, as in Sentry's API."""
    path, keys = half_inactive
    if owner == "the organization":
        path = f"{ORGANIZATIONS}{ORGANIZATION}/project-keys/"
        query = f"{query}&per_page=100"
    response = await site.send("GET", f"{path}?{query}")
    assert response.status == 200
    assert [key["id"] for key in response.body if key["id"] in keys] == keys[expected][::-1]
    if expected == slice(0, 0):
        assert cursors(response) == {"previous": ("0:0:1", False), "next": ("0:0:0", False)}


async def walk(site: Site, path: str, relation: str, *, cursor: str = "") -> tuple[list[Any], str]:
    """Return the items of all pages in one direction, and the last cursor."""
    found: list[Any] = []
    while True:
        response = await site.send("GET", f"{path}&cursor={cursor}")
        assert response.status == 200
        found.extend(response.body if relation == "next" else response.body[::-1])
        following, more = cursors(response)[relation]
        if not more:
            return found, cursor
        cursor = following


@pytest.mark.parametrize("size", [1, 3, 4, 5])
@pytest.mark.parametrize("status", ["", "active", "inactive"])
async def test_pages_contain_each_key_once_in_both_directions(
    site: Site, half_inactive: tuple[str, list[str]], size: int, status: str
) -> None:
    """To the oldest key, and from there to the newest."""
    path, keys = half_inactive
    expected = {"": keys, "active": keys[1::2], "inactive": keys[::2]}[status]
    down, last = await walk(site, f"{path}?per_page={size}&status={status}", "next")
    assert [key["id"] for key in down] == expected[::-1]
    page = await site.send("GET", f"{path}?per_page={size}&status={status}&cursor={last}")
    up = page.body[::-1]
    previous, more = cursors(page)["previous"]
    if more:
        up += (await walk(site, f"{path}?per_page={size}&status={status}", "previous", cursor=previous))[0]
    assert [key["id"] for key in up] == expected


@pytest.fixture(scope="module")
async def listed(site: Site) -> list[Any]:
    """The keys of both projects of the organization ``listed``, newest first; another organization has keys too."""
    for slug, projects in (("listed", ("one", "two", "none")), ("not-listed", ("one",))):
        body = {"name": slug, "slug": slug, "ingestUrl": f"https://{slug}.example"}
        await site.send("POST", ORGANIZATIONS, json=body)
        for project in projects:
            body = {"name": project, "slug": project, "defaultKey": "no"}
            assert (await site.send("POST", f"{ORGANIZATIONS}{slug}/projects/", json=body)).status == 201
    created = [
        await site.send("POST", f"/api/0/projects/{project}/keys/", json={})
        for project in ["listed/one", "listed/two", "not-listed/one"] * 3
    ]
    return [response.body for number, response in enumerate(created) if number % 3 < 2][::-1]


async def test_the_list_of_an_organization_has_the_keys_of_all_its_projects(site: Site, listed: list[Any]) -> None:
    """Newest first, each as in the list of its project, also page by page."""
    path = f"{ORGANIZATIONS}listed/project-keys/"
    assert (await site.send("GET", path)).body == listed
    assert "@listed.example/" in listed[0]["dsn"]["public"]
    assert (await walk(site, f"{path}?per_page=2", "next"))[0] == listed
    bound = await site.new_token("org:read", organization="listed")
    assert (await site.send("GET", path, token=bound)).body == listed
    other = await site.send("GET", f"{ORGANIZATIONS}not-listed/project-keys/", token=bound)
    assert (other.status, other.body) == (403, NO_PERMISSION)


async def test_the_list_of_an_organization_has_no_keys_of_a_deleted_project(site: Site, listed: list[Any]) -> None:
    """The keys of its other projects stay."""
    assert (await site.send("DELETE", "/api/0/projects/listed/one/")).status == 204
    remaining = (await site.send("GET", f"{ORGANIZATIONS}listed/project-keys/")).body
    assert remaining == [key for key in listed if key["projectId"] == listed[0]["projectId"]]
    assert len(remaining) == 3


@pytest.mark.parametrize("team", ["backend", "5", "%00"])
async def test_a_team_is_404(site: Site, team: str) -> None:
    """There are no teams; an empty parameter is ignored."""
    path = f"{ORGANIZATIONS}{ORGANIZATION}/project-keys/"
    response = await site.send("GET", f"{path}?team={team}")
    assert (response.status, response.body) == (404, {"detail": "Team not found"})
    assert (await site.send("GET", f"{path}?team=")).status == 200


@pytest.mark.parametrize("path", ["project-keys", "projects"])
async def test_lists_of_an_organization_require_org_scopes(site: Site, path: str) -> None:
    """org:read or higher; scopes of projects are not sufficient."""
    base = f"{ORGANIZATIONS}{ORGANIZATION}/{path}/"
    for scope, status in (("org:read", 200), ("org:write", 200), ("org:admin", 200), ("project:admin", 403)):
        assert (await site.send("GET", base, token=await site.new_token(scope))).status == status
    missing = await site.send("GET", f"{ORGANIZATIONS}no-such-organization/{path}/")
    assert (missing.status, missing.body) == (404, NOT_FOUND)


async def test_pages_contain_each_lasting_key_once_during_creates_and_deletes(site: Site) -> None:
    """A key that exists from the first page to the last is on exactly one page."""
    assert (await site.new_project("busy")).status == 201
    path = site.keys_path.replace(site.project, "busy")
    lasting = [(await site.send("POST", path, json={})).body["id"] for _ in range(30)]
    deleted = [(await site.send("POST", path, json={})).body["id"] for _ in range(6)]
    lasting += [(await site.send("POST", path, json={})).body["id"] for _ in range(6)]
    listed: list[str] = []
    cursor, more = "", True
    while more:
        response = await site.send("GET", f"{path}?per_page=5&cursor={cursor}")
        listed += [key["id"] for key in response.body]
        cursor, more = cursors(response)["next"]
        await site.send("POST", path, json={})
        if deleted:
            # The cursor may contain the id of such a key.
            await site.send("DELETE", f"{path}{deleted.pop()}/")
    assert len(listed) == len(set(listed))
    assert set(lasting) <= set(listed)
