"""The list of projects: sorted by slug, in pages or as a whole, with the searches that Sentry's clients send."""

from typing import Any

import pytest

from service.http.project_query import project_search
from service.usecases import projects as use_case
from tests.http_service import Site
from tests.test_http_lists import CURSOR, ORGANIZATIONS, cursors, walk

MANY = f"{ORGANIZATIONS}many/projects/"
SLUGS = [f"p{number:02}" for number in range(12)]


@pytest.fixture(scope="module")
async def created(site: Site) -> list[dict[str, Any]]:
    """Projects of an organization in the order of their slugs, which is not that of their creation."""
    await site.send("POST", ORGANIZATIONS, json={"name": "Many", "slug": "many"})
    bodies = [{"slug": slug, "name": f"Pump {slug[1:]}", "defaultKey": False} for slug in [*SLUGS[6:], *SLUGS[:6]]]
    bodies += [{"slug": "valve", "name": "ÜBER 50% Valve"}, {"slug": "tank", "name": "Pump's tank"}]
    made = [(await site.send("POST", MANY, json=body)).body for body in bodies]
    return sorted(made, key=lambda project: str(project["slug"]))


async def _slugs(site: Site, **query: str) -> list[str]:
    response = await site.send("GET", MANY, params=query)
    assert response.status == 200
    return [project["slug"] for project in response.body]


async def test_projects_are_listed_by_slug_page_by_page(site: Site, created: list[dict[str, Any]]) -> None:
    """Each as a read of the project returns it, 100 on a page by default; cursors have the page's size and number."""
    response = await site.send("GET", MANY)
    assert response.body == created
    assert cursors(response) == {"previous": ("100:-1:1", False), "next": ("100:1:0", False)}
    assert (await site.send("GET", f"/api/0/projects/many/{created[2]['slug']}/")).body == created[2]
    down, last = await walk(site, f"{MANY}?per_page=4", "next")
    assert (down, last) == (created, "4:3:0")
    last_page = await site.send("GET", f"{MANY}?per_page=4&cursor={last}")
    assert last_page.body == created[12:]
    assert cursors(last_page) == {"previous": ("4:2:1", True), "next": ("4:4:0", False)}
    assert (await site.send("GET", f"{MANY}?per_page=4&cursor=4:2:1")).body == created[8:12]


@pytest.mark.parametrize("cursor", ["100:100:0", "10000:1:0", "100:-1:1", "-1:1:0", "x", "1:2", f"{2**63}:1:0"])
async def test_a_cursor_beyond_the_limit_is_rejected(site: Site, cursor: str) -> None:
    """At most 10 000 rows are skipped."""
    response = await site.send("GET", f"{MANY}?cursor={cursor}")
    assert (response.status, response.body) == (400, {"detail": CURSOR})


async def test_the_last_page_within_the_limit_has_no_next_one(
    site: Site, created: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cursor would be rejected."""
    monkeypatch.setattr("service.http.pagination._MAX_OFFSET", 8)
    response = await site.send("GET", f"{MANY}?per_page=4&cursor=4:1:0")
    assert (response.body, cursors(response)["next"]) == (created[4:8], ("4:2:0", False))


async def test_all_projects_are_listed_in_one_page(
    site: Site, created: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps, up to the limit; together with a search."""
    monkeypatch.setattr(use_case, "_LIST_SIZE", 4)
    monkeypatch.setattr(use_case, "_MAX_PROJECTS", 16)
    for value in ("1", "true"):
        response = await site.send("GET", f"{MANY}?per_page=3&all_projects={value}")
        assert response.body == created
        assert not any(has_rows for _, has_rows in cursors(response).values())
    assert await _slugs(site, all_projects="1", query="Pump 1") == ["p10", "p11"]
    assert await _slugs(site, all_projects="1", query="slug:p01 slug:p05 slug:p07 slug:p08 slug:p09") == [
        "p01", "p05", "p07", "p08", "p09"
    ]  # fmt: skip
    assert await _slugs(site, all_projects="1", query="platform:python") == []
    monkeypatch.setattr(use_case, "_MAX_PROJECTS", 8)
    assert await _slugs(site, all_projects="1") == SLUGS[:8]
    assert len(await _slugs(site, all_projects="0", per_page="5")) == 5


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("slug:p03", ["p03"]),
        ("slug:p03 slug:p01 slug:none", ["p01", "p03"]),
        ("slug:P03", []),
        ("slug:", []),
        ("slug:p03 slug:p04 Pump 04", ["p04"]),
        ('name:"Pump 07"', ["p07"]),
        ("name:Pump", []),
        ('name:"Pump 07" name:"Pump 08" slug:p08', ["p08"]),
        ("pump's", ["tank"]),
        ("0 p", []),
        ('"p 0"', SLUGS[:10]),
        ("p 0", SLUGS[:10]),
        ("P1", ["p10", "p11"]),
        ("über", ["valve"]),
        ("50%", ["valve"]),
        ("_", []),
        ('"slug:p03"', []),
        ("", [*SLUGS, "tank", "valve"]),
        ("   ", [*SLUGS, "tank", "valve"]),
        ("nothing-has-this", []),
        ("platform:python", []),
        ("!team:a", []),
        ("is_member:1 slug:p01", []),
        (":p01", []),
        ("query:p01", ["p01"]),
        ("id:99999999999999999999999999", []),
        ("dsn:x", []),
        ("\x00", []),
        ('slug:p01 "', ["p01"]),
    ],
)
@pytest.mark.usefixtures("created")
async def test_a_query_selects_projects(site: Site, query: str, found: list[str]) -> None:
    """All words must match; an unknown one matches nothing."""
    assert await _slugs(site, query=query) == found


async def test_a_query_finds_a_project_by_its_id_and_by_a_public_key(
    site: Site, created: list[dict[str, Any]]
) -> None:
    """Never one of another organization."""
    ids = {project["slug"]: project["id"] for project in created}
    [key] = (await site.send("GET", "/api/0/projects/many/tank/keys/")).body
    foreign = (await site.create({})).body["id"]
    assert await _slugs(site, query=f"id:{ids['p04']} id:{ids['tank']} id:{site.project_id}") == [
        "p04",
        "tank",
    ]
    assert await _slugs(site, query=f"dsn:{key['public']} dsn:{foreign}") == ["tank"]
    assert await _slugs(site, query=f"dsn:{foreign}") == []
    assert await _slugs(site, query=f"dsn:{key['public']} id:{ids['p04']}") == []
    assert await _slugs(site, query=f"dsn:{key['public']} slug:tank id:{ids['tank']}") == ["tank"]
    rejected = await site.send("GET", MANY, params={"query": "id:tank"})
    assert (rejected.status, rejected.body) == (400, {"query": ["The value of id: must be an integer."]})


@pytest.mark.usefixtures("created")
async def test_pages_of_a_search_have_cursors(site: Site) -> None:
    """The query is part of the links."""
    found, last = await walk(site, f"{MANY}?query=Pump%200&per_page=3", "next")
    assert ([project["slug"] for project in found], last) == (SLUGS[:10], "3:3:0")
    chosen = await site.send("GET", f"{MANY}?query=slug:p01%20slug:p02%20slug:p03&per_page=2&cursor=2:1:0")
    assert [project["slug"] for project in chosen.body] == ["p03"]
    assert "query=slug%3Ap01+slug%3Ap02+slug%3Ap03&per_page=2&cursor=2:0:1>" in chosen.headers["Link"]


@pytest.mark.parametrize("piece", ['"', " ", "a:", '" ', 'a"', '"" ', ":", "\x85"])
def test_a_long_query_takes_linear_time(piece: str) -> None:
    """Also one of quotes that are never closed."""
    project_search(piece * (1_000_000 // len(piece)))


@pytest.mark.parametrize("name", ["start", "end", "statsPeriod"])
async def test_the_audit_log_rejects_a_period(site: Site, name: str) -> None:
    """It would be ignored, and the client would take all entries for those of the period."""
    path = f"{ORGANIZATIONS}many/audit-logs/"
    rejected = await site.send("GET", f"{path}?{name}=24h")
    assert (rejected.status, rejected.body) == (400, {name: ["The audit log cannot be filtered by time."]})
    assert (await site.send("GET", f"{path}?{name}=")).status == 200
