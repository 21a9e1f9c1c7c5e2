"""Projects and teams as Sentry's clients create and read them."""

from typing import Any

import pytest

from tests.http_service import ORGANIZATION, Site
from tests.test_http_lists import ORGANIZATIONS, cursors, walk

_PROJECTS = "/api/0/projects/"
_OF_TEAM = f"/api/0/teams/{ORGANIZATION}/any-team/projects/"


@pytest.fixture(scope="module")
async def many(site: Site) -> list[dict[str, Any]]:
    """Projects of another organization, in the order of their slugs."""
    await site.send("POST", ORGANIZATIONS, json={"name": "Many", "slug": "provisioned"})
    bodies = [{"name": f"Pump {number}", "slug": f"p{number}"} for number in range(5)]
    return [(await site.send("POST", f"{ORGANIZATIONS}provisioned/projects/", json=body)).body for body in bodies]


async def test_a_project_is_created_in_a_team_of_any_name(site: Site) -> None:
    """With what the collector's exporter and Terraform send; members that the service does not know are ignored."""
    sent = {"name": "Exported", "slug": "exported", "platform": "other", "default_rules": False}
    created = await site.send("POST", _OF_TEAM, json=sent)
    assert created.status == 201
    organization = created.body["organization"]
    team = {"id": organization["id"], "slug": ORGANIZATION, "name": organization["name"]}
    members = {"slug": "exported", "platform": "other", "team": team, "teams": [team], "features": []}
    assert created.body.items() >= members.items()
    path = f"/api/0/projects/{ORGANIZATION}/exported/"
    assert (await site.send("GET", path)).body == created.body
    [key] = (await site.send("GET", f"{path}keys/")).body
    assert key["name"] == "Default"
    taken = await site.send("POST", _OF_TEAM, json=sent)
    assert (taken.status, list(taken.body)) == (409, ["detail"])


async def test_a_repeated_request_to_a_team_creates_one_project(site: Site) -> None:
    """With an idempotency key; without a slug, it is derived from the name."""
    sent = [
        await site.send("POST", _OF_TEAM, json={"name": "Once"}, headers={"Idempotency-Key": "team-once"})
        for _ in "12"
    ]
    assert [response.status for response in sent] == [201, 201]
    assert sent[0].body == sent[1].body
    assert sent[1].headers["Idempotent-Replayed"] == "true"


async def test_a_platform_is_stored_for_clients(site: Site) -> None:
    """Terraform sets it and compares what it reads; blank leaves it as it is."""
    path = f"/api/0/projects/{ORGANIZATION}/platforms/"
    await site.send("POST", _OF_TEAM, json={"name": "Platforms", "slug": "platforms"})
    assert (await site.send("GET", path)).body["platform"] is None
    for sent, stored in (({"platform": "python"}, "python"), ({"platform": ""}, "python"), ({"name": "P"}, "python")):
        assert (await site.send("PUT", path, json=sent)).body["platform"] == stored
    rejected = await site.send("PUT", path, json={"platform": "x" * 65})
    assert (rejected.status, list(rejected.body)) == (400, ["platform"])
    audited = (
        "SELECT data FROM audit_entry WHERE action = 'project.edit' AND target = 'platforms' ORDER BY id LIMIT 1"
    )
    assert "python" in await site.postgres.fetchval(audited)


async def test_an_unbound_token_lists_the_projects_of_all_organizations(
    site: Site, many: list[dict[str, Any]]
) -> None:
    """Newest first, page by page; the query applies to all of them."""
    everything = (await site.send("GET", _PROJECTS)).body
    order = [int(project["id"]) for project in everything]
    assert order == sorted(order, reverse=True)
    assert [project for project in everything if project["organization"]["slug"] == "provisioned"] == many[::-1]
    pages, _ = await walk(site, f"{_PROJECTS}?per_page=2", "next")
    assert pages == everything
    [key] = (await site.send("GET", "/api/0/projects/provisioned/p3/keys/")).body
    for query, found in (
        (f"dsn:{key['public']}", ["p3"]),
        (f"dsn:{key['public']} slug:p4", []),
        ("slug:p1 slug:p2", ["p2", "p1"]),
        (f"id:{many[4]['id']}", ["p4"]),
        ("pump name:none", []),
        ("UMP 2", ["p2"]),
        ("platform:python", []),
    ):
        response = await site.send("GET", _PROJECTS, params={"query": query})
        assert [project["slug"] for project in response.body] == found, query


async def test_a_bound_token_lists_the_projects_of_its_organization(site: Site, many: list[dict[str, Any]]) -> None:
    """As the list of the organization does; it finds nothing of others by any search."""
    token = await site.new_token(organization="provisioned")
    listed = await site.send("GET", f"{_PROJECTS}?per_page=4", token=token)
    assert listed.body == many[:4]
    assert cursors(listed)["next"] == ("4:1:0", True)
    foreign = (await site.create({})).body["id"]
    for query in (f"dsn:{foreign}", f"id:{site.project_id}", f"slug:{site.project}"):
        assert (await site.send("GET", _PROJECTS, token=token, params={"query": query})).body == []


async def test_an_organization_has_one_team_with_its_slug(site: Site) -> None:
    """On the first page."""
    teams = f"{ORGANIZATIONS}{ORGANIZATION}/teams/"
    organization = (await site.send("GET", f"{ORGANIZATIONS}{ORGANIZATION}/")).body
    listed = await site.send("GET", teams)
    [team] = listed.body
    shared = {name: organization[name] for name in ("id", "slug", "name", "dateCreated")}
    assert team == {**shared, "isMember": True, "hasAccess": True}
    assert cursors(listed)["next"] == ("100:1:0", False)
    assert (await site.send("GET", f"{teams}?cursor=100:1:0")).body == []
    assert (await site.send("GET", f"/api/0/projects/{ORGANIZATION}/{site.project}/teams/")).body == [team]
    for name, status in ((ORGANIZATION, 200), (team["id"], 200), ("any-team", 404)):
        read = await site.send("GET", f"/api/0/teams/{ORGANIZATION}/{name}/")
        assert read.status == status
        assert status == 404 or read.body == team


async def test_an_installation_has_no_regions(site: Site) -> None:
    """Sentry's command line cannot log in without this path; it then uses the same host."""
    assert (await site.send("GET", "/api/0/users/me/regions/")).body == {"regions": []}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/api/0/teams/none/any-team/projects/", 404, id="unknown organization"),
        pytest.param(f"/api/0/teams/{ORGANIZATION}/any%00team/projects/", 404, id="malformed team"),
        pytest.param(f"/api/0/teams/{ORGANIZATION}/{'x' * 65}/projects/", 404, id="long team"),
    ],
)
async def test_a_wrong_path_creates_nothing(site: Site, path: str, status: int) -> None:
    """The error is that of every path."""
    before = await site.postgres.fetchval("SELECT count(*) FROM project")
    assert (await site.send("POST", path, json={"name": "Nothing"})).status == status
    assert await site.postgres.fetchval("SELECT count(*) FROM project") == before
