"""Lists of keys and projects: their pages, their cursors and what leaves out keys."""

from typing import Any

import pytest

from tests.http_service import NO_PERMISSION, NOT_FOUND, ORGANIZATION, Response, Site

ORGANIZATIONS = "/api/0/organizations/"
CURSOR = "Invalid cursor parameter."
PER_PAGE = "Invalid per_page parameter."
RANGE = "Invalid per_page value. Must be between 1 and 100."


@pytest.fixture(scope="module")
async def numbers(site: Site) -> tuple[str, list[int], list[str]]:
    """A project's list of 25 keys, their row ids and their public halves, the oldest first."""
    assert (await site.new_project("twenty-five")).status == 201
    path = site.keys_path.replace(site.project, "twenty-five")
    keys = [(await site.send("POST", path, json={})).body["id"] for _ in range(25)]
    rows = await site.postgres.fetch(
        "SELECT id FROM project_key WHERE public_key = ANY ($1) ORDER BY id", keys
    )
    return path, [row["id"] for row in rows], keys


def cursors(answer: Response) -> dict[str, tuple[str, bool]]:
    """Each relation of an answer's Link header: its cursor and whether there is something there."""
    found = {}
    for part in answer.headers["Link"].split(", "):
        _, relation, results, cursor = (piece.partition("=")[2].strip('"') for piece in part.split("; "))
        found[relation] = (cursor, results == "true")
    return found


# The keys 1 to 25 stand for the ids that they have; 0 for none.
WORKED: list[tuple[str, int, tuple[int, int], tuple[str, bool], tuple[str, bool]]] = [
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


@pytest.mark.parametrize(("cursor", "size", "span", "previous", "following"), WORKED)
async def test_a_cursor_leads_to_its_page_and_to_both_neighbours(
    site: Site,
    numbers: tuple[str, list[int], list[str]],
    cursor: str,
    size: int,
    span: tuple[int, int],
    previous: tuple[str, bool],
    following: tuple[str, bool],
) -> None:
    """The cursors are those that clients have always been given."""
    path, ids, keys = numbers

    def real(worked: str) -> str:
        number, _, rest = worked.partition(":")
        return f"{ids[int(number) - 1] if int(number) else 0}:{rest}"

    query = f"?per_page={size}" + (f"&cursor={real(cursor)}" if cursor else "")
    answer = await site.send("GET", f"{path}{query}")
    newest, oldest = span
    assert [one["id"] for one in answer.body] == keys[oldest - 1 : newest][::-1]
    assert cursors(answer) == {
        "previous": (real(previous[0]), previous[1]),
        "next": (real(following[0]), following[1]),
    }


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        *[(f"per_page={said}", RANGE) for said in ("0", "-1", "101", "9" * 30)],
        *[(f"per_page={said}", PER_PAGE) for said in ("", "x", "1.5", "0x10", "ten", "%00", "1%2C000")],
        *[(f"cursor={said}", CURSOR) for said in ("x", "1", "1:2", "1:2:3:4", "a:0:0", "1:b:0", "1:0:c")],
        *[(f"cursor={said}", CURSOR) for said in (":", "::", "1:-1:0", "1:99999999:0", "%00", "1.5:0:0")],
        (f"cursor={'9' * 30}:0:0", CURSOR),
        ("cursor=1:0:0&cursor=x", CURSOR),
        ("per_page=5&per_page=x", PER_PAGE),
        ("per_page=x&cursor=x", PER_PAGE),
    ],
)
@pytest.mark.parametrize("path", ["keys", "project-keys", "projects", "audit-logs"])
async def test_what_is_no_page_is_400(site: Site, path: str, query: str, detail: str) -> None:
    """In the same words on every list."""
    base = site.keys_path if path == "keys" else f"{ORGANIZATIONS}{ORGANIZATION}/{path}/"
    answer = await site.send("GET", f"{base}?{query}")
    assert (answer.status, answer.body) == (400, {"detail": detail})


@pytest.mark.parametrize(
    "query", ["cursor=", "cursor=0:0:0", "per_page=10", "per_page=%2010", "cursor=x&cursor=", "unknown=1"]
)
async def test_these_ask_for_the_first_page(
    site: Site, numbers: tuple[str, list[int], list[str]], query: str
) -> None:
    """Of a parameter given twice the last counts; what nobody knows is ignored."""
    path, _, keys = numbers
    answer = await site.send("GET", f"{path}?{query}")
    assert [one["id"] for one in answer.body] == keys[15:][::-1]


@pytest.fixture(scope="module")
async def half_off(site: Site) -> tuple[str, list[str]]:
    """A project's list of 8 keys, and their public halves, the oldest first: every other one is off."""
    assert (await site.new_project("half-off")).status == 201
    path = site.keys_path.replace(site.project, "half-off")
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
@pytest.mark.parametrize("whose", ["the project's", "the organization's"])
async def test_a_status_leaves_out_the_other_keys(
    site: Site, half_off: tuple[str, list[str]], whose: str, query: str, expected: slice
) -> None:
    """What is no status leaves out all of them, as clients have learned."""
    path, keys = half_off
    if whose == "the organization's":
        path = f"{ORGANIZATIONS}{ORGANIZATION}/project-keys/"
        query = f"{query}&per_page=100"
    answer = await site.send("GET", f"{path}?{query}")
    assert answer.status == 200
    assert [one["id"] for one in answer.body if one["id"] in keys] == keys[expected][::-1]
    if expected == slice(0, 0):
        assert cursors(answer) == {"previous": ("0:0:1", False), "next": ("0:0:0", False)}


async def walk(site: Site, path: str, relation: str, *, cursor: str = "") -> tuple[list[Any], str]:
    """Everything from page to page in one direction, and the last cursor asked for."""
    found: list[Any] = []
    while True:
        answer = await site.send("GET", f"{path}&cursor={cursor}")
        assert answer.status == 200
        found.extend(answer.body if relation == "next" else answer.body[::-1])
        following, more = cursors(answer)[relation]
        if not more:
            return found, cursor
        cursor = following


@pytest.mark.parametrize("size", [1, 3, 4, 5])
@pytest.mark.parametrize("status", ["", "active", "inactive"])
async def test_pages_hold_each_key_once_and_lead_back_the_same_way(
    site: Site, half_off: tuple[str, list[str]], size: int, status: str
) -> None:
    """Down to the oldest, and from there up to the newest."""
    path, keys = half_off
    expected = {"": keys, "active": keys[1::2], "inactive": keys[::2]}[status]
    down, last = await walk(site, f"{path}?per_page={size}&status={status}", "next")
    assert [one["id"] for one in down] == expected[::-1]
    page = await site.send("GET", f"{path}?per_page={size}&status={status}&cursor={last}")
    up = page.body[::-1]
    previous, more = cursors(page)["previous"]
    if more:
        up += (await walk(site, f"{path}?per_page={size}&status={status}", "previous", cursor=previous))[0]
    assert [one["id"] for one in up] == expected


@pytest.fixture(scope="module")
async def listed(site: Site) -> list[Any]:
    """The keys of an organization ``listed`` with two projects, the newest first; another's came in between."""
    for slug, projects in (("listed", ("one", "two", "none")), ("not-listed", ("one",))):
        body = {"name": slug, "slug": slug, "ingestUrl": f"https://{slug}.example"}
        await site.send("POST", ORGANIZATIONS, json=body)
        for project in projects:
            body = {"name": project, "slug": project, "defaultKey": "no"}
            assert (await site.send("POST", f"{ORGANIZATIONS}{slug}/projects/", json=body)).status == 201
    made = [
        await site.send("POST", f"/api/0/projects/{where}/keys/", json={})
        for where in ["listed/one", "listed/two", "not-listed/one"] * 3
    ]
    return [answer.body for number, answer in enumerate(made) if number % 3 < 2][::-1]


async def test_an_organizations_list_has_the_keys_of_all_its_projects_and_of_no_other(
    site: Site, listed: list[Any]
) -> None:
    """Newest first over all of them, each as its own project's list has it; pages of two lead through."""
    path = f"{ORGANIZATIONS}listed/project-keys/"
    assert (await site.send("GET", path)).body == listed
    assert "@listed.example/" in listed[0]["dsn"]["public"]
    assert (await walk(site, f"{path}?per_page=2", "next"))[0] == listed
    bound = await site.new_token("org:read", organization="listed")
    assert (await site.send("GET", path, token=bound)).body == listed
    other = await site.send("GET", f"{ORGANIZATIONS}not-listed/project-keys/", token=bound)
    assert (other.status, other.body) == (403, NO_PERMISSION)


async def test_a_deleted_project_takes_its_keys_out_of_its_organizations_list(
    site: Site, listed: list[Any]
) -> None:
    """The others' stay."""
    assert (await site.send("DELETE", "/api/0/projects/listed/one/")).status == 204
    left = (await site.send("GET", f"{ORGANIZATIONS}listed/project-keys/")).body
    assert left == [key for key in listed if key["projectId"] == listed[0]["projectId"]]
    assert len(left) == 3


@pytest.mark.parametrize("team", ["backend", "5", "%00"])
async def test_there_are_no_teams(site: Site, team: str) -> None:
    """So whoever names one is told; an empty name is none."""
    path = f"{ORGANIZATIONS}{ORGANIZATION}/project-keys/"
    answer = await site.send("GET", f"{path}?team={team}")
    assert (answer.status, answer.body) == (404, {"detail": "Team not found"})
    assert (await site.send("GET", f"{path}?team=")).status == 200


@pytest.mark.parametrize("path", ["project-keys", "projects"])
async def test_lists_of_an_organization_need_its_scopes(site: Site, path: str) -> None:
    """org:read and above; a project's do not do."""
    base = f"{ORGANIZATIONS}{ORGANIZATION}/{path}/"
    for scope, status in (("org:read", 200), ("org:write", 200), ("org:admin", 200), ("project:admin", 403)):
        assert (await site.send("GET", base, token=await site.new_token(scope))).status == status
    missing = await site.send("GET", f"{ORGANIZATIONS}no-such-organization/{path}/")
    assert (missing.status, missing.body) == (404, NOT_FOUND)


async def test_projects_are_listed_newest_first_page_by_page(site: Site) -> None:
    """Each as it is read by itself."""
    await site.send("POST", ORGANIZATIONS, json={"name": "Many", "slug": "many"})
    path = f"{ORGANIZATIONS}many/projects/"
    made = [
        (await site.send("POST", path, json={"name": f"p{number}", "defaultKey": False})).body
        for number in range(5)
    ]
    down, last = await walk(site, f"{path}?per_page=2", "next")
    assert down == made[::-1]
    previous, more = cursors(await site.send("GET", f"{path}?per_page=2&cursor={last}"))["previous"]
    assert more
    assert (await walk(site, f"{path}?per_page=2", "previous", cursor=previous))[0] == made[1:]
    assert (await site.send("GET", f"/api/0/projects/many/{made[2]['slug']}/")).body == made[2]
    assert (await site.send("DELETE", f"/api/0/projects/many/{made[2]['id']}/")).status == 204
    assert [one["id"] for one in (await site.send("GET", path)).body] == [
        made[number]["id"] for number in (4, 3, 1, 0)
    ]


async def test_no_key_is_missed_or_told_twice_while_others_come_and_go(site: Site) -> None:
    """Whoever stays from the first page to the last is on one of them, whatever is made and deleted meanwhile."""
    assert (await site.new_project("busy")).status == 201
    path = site.keys_path.replace(site.project, "busy")
    staying = [(await site.send("POST", path, json={})).body["id"] for _ in range(30)]
    going = [(await site.send("POST", path, json={})).body["id"] for _ in range(6)]
    staying += [(await site.send("POST", path, json={})).body["id"] for _ in range(6)]
    found: list[str] = []
    cursor, more = "", True
    while more:
        answer = await site.send("GET", f"{path}?per_page=5&cursor={cursor}")
        found += [one["id"] for one in answer.body]
        cursor, more = cursors(answer)["next"]
        await site.send("POST", path, json={})
        if going:
            # Of the keys to go, the one that the cursor may name is among them.
            await site.send("DELETE", f"{path}{going.pop()}/")
    assert len(found) == len(set(found))
    assert set(staying) <= set(found)
