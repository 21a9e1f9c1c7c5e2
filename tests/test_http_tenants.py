"""Organizations and projects over HTTP, and the isolation of tenants."""

import asyncio
from typing import Any

import pytest

from tests.http_service import NO_PERMISSION, NOT_FOUND, ORGANIZATION, Response, Site, stored, storing_nothing

ORGANIZATIONS = "/api/0/organizations/"
PROJECTS = f"{ORGANIZATIONS}{ORGANIZATION}/projects/"
BAD_SLUG = (
    "Enter a valid slug consisting of lowercase letters, numbers, underscores or hyphens. "
    "It cannot be entirely numeric."
)


@pytest.fixture(scope="module")
async def neighbour(site: Site) -> dict[str, str]:
    """Another organization with a key in a project of the same slug: the ids of all three."""
    organization = await site.send("POST", ORGANIZATIONS, json={"name": "Neighbour", "slug": "neighbour"})
    project = await site.send(
        "POST", f"{ORGANIZATIONS}neighbour/projects/", json={"name": "Neighbour's", "slug": site.project}
    )
    keys = await site.send("GET", f"/api/0/projects/neighbour/{site.project}/keys/")
    assert (organization.status, project.status, keys.status) == (201, 201, 200)
    return {
        "organization": organization.body["id"],
        "project": project.body["id"],
        "key": keys.body[0]["id"],
    }


def _paths(site: Site, neighbour: dict[str, str]) -> list[str]:
    organizations = ["neighbour", neighbour["organization"], "no-such-organization", "999999"]
    projects = [site.project, neighbour["project"], str(site.project_id), "no-such-project", "999999"]
    return [
        f"/api/0/projects/{organization}/{project}/keys/" for organization in organizations for project in projects
    ]


async def test_another_organization_is_403_whether_or_not_it_exists(site: Site, neighbour: dict[str, str]) -> None:
    """The same bytes by slug and by id, for each method, also with a project of the own organization."""
    token = await site.new_token(organization=ORGANIZATION)
    received = set[tuple[int, bytes]]()
    async with storing_nothing(site):
        for path in _paths(site, neighbour):
            responses = [
                await site.send("GET", path, token=token),
                await site.send("POST", path, token=token, json={}),
                await site.send("GET", f"{path}{neighbour['key']}/", token=token),
            ]
            received.update((response.status, response.raw) for response in responses)
            assert all("WWW-Authenticate" not in response.headers for response in responses)
        for organization in ("neighbour", neighbour["organization"], "no-such-organization"):
            created = await site.send(
                "POST", f"{ORGANIZATIONS}{organization}/projects/", token=token, json={"name": "x"}
            )
            received.add((created.status, created.raw))
    assert received == {(403, b'{"detail":"You do not have permission to perform this action."}')}


@pytest.mark.parametrize("organization", ["id", "slug"])
async def test_a_bound_token_works_in_its_own_organization(site: Site, organization: str) -> None:
    """By slug and by id; both create keys in the same project."""
    token = await site.new_token(organization=ORGANIZATION)
    name = {"id": site.organization_id, "slug": ORGANIZATION}[organization]
    path = f"/api/0/projects/{name}/{site.project}/keys/"
    created = await site.send("POST", path, token=token, json={})
    assert (created.status, created.body["projectId"]) == (201, site.project_id)
    assert (await site.send("GET", path, token=token)).body[0] == created.body
    missing = await site.send("GET", f"/api/0/projects/{name}/no-such-project/keys/", token=token)
    assert (missing.status, missing.body) == (404, NOT_FOUND)


@pytest.mark.parametrize("bound", [True, False], ids=["bound token", "unbound token"])
async def test_a_path_with_two_tenants_is_404(site: Site, neighbour: dict[str, str], *, bound: bool) -> None:
    """The own organization with the project or key of another one; nothing is stored."""
    token = await site.new_token(organization=ORGANIZATION if bound else None)
    project = f"/api/0/projects/{ORGANIZATION}/{neighbour['project']}/keys/"
    async with storing_nothing(site):
        responses = [
            await site.send("GET", project, token=token),
            await site.send("POST", project, token=token, json={}),
            await site.send("GET", f"{project}{neighbour['key']}/", token=token),
            await site.send("GET", f"{site.keys_path}{neighbour['key']}/", token=token),
        ]
    assert [(response.status, response.body) for response in responses] == [(404, NOT_FOUND)] * 4


async def test_concurrent_reads_of_two_tenants_are_isolated(site: Site, neighbour: dict[str, str]) -> None:
    """They share a statement, and each sees only its own keys."""
    own = (await site.create({})).body["id"]
    theirs = f"/api/0/projects/neighbour/{site.project}/keys/"
    responses = await asyncio.gather(
        *(site.send("GET", f"{site.keys_path}{key}/") for key in [own, neighbour["key"]] * 5),
        *(site.send("GET", f"{theirs}{key}/") for key in [own, neighbour["key"]] * 5),
    )
    assert [response.status for response in responses] == [200, 404] * 5 + [404, 200] * 5


async def test_an_unbound_token_gets_404_for_what_does_not_exist(site: Site) -> None:
    """It may know which organizations exist."""
    async with storing_nothing(site):
        responses = [
            await site.send("GET", "/api/0/projects/no-such-organization/x/keys/"),
            await site.send("POST", f"{ORGANIZATIONS}no-such-organization/projects/", json={"name": "x"}),
        ]
    assert [(response.status, response.body) for response in responses] == [(404, NOT_FOUND)] * 2


async def test_a_new_organization_is_returned_and_audited(site: Site) -> None:
    """It has no event: an organization without keys has nothing to ingest."""
    before = await stored(site)
    response = await site.send("POST", ORGANIZATIONS, json={"name": " Ümläut & Söhne "})
    assert response.status == 201
    assert list(response.body) == ["id", "slug", "name", "dateCreated", "ingestUrl"]
    assert (response.body["slug"], response.body["name"]) == ("umlaut-sohne", "Ümläut & Söhne")
    assert response.body["id"].isdigit()
    assert response.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    grown = {"organizations": 1, "audit_entries": 1}
    assert await stored(site) == {name: count + grown.get(name, 0) for name, count in before.items()}


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        pytest.param({}, ["Default"], id="by default"),
        pytest.param({"defaultKey": True}, ["Default"], id="requested"),
        pytest.param({"defaultKey": False}, [], id="not requested"),
    ],
)
async def test_a_new_project_has_a_first_key_unless_defaultkey_is_false(
    site: Site, body: dict[str, Any], keys: list[str]
) -> None:
    """The key, its event and its audit entry are part of the project's transaction."""
    before = await stored(site)
    slug = f"first-{len(body)}-{len(keys)}"
    response = await site.send("POST", PROJECTS, json={"name": "First", "slug": slug, **body})
    assert response.status == 201
    assert list(response.body) == [
        *("id", "slug", "name", "dateCreated", "organization"),
        *("platform", "status", "isMember", "hasAccess", "features", "team", "teams"),
    ]
    assert (response.body["slug"], response.body["organization"]["slug"]) == (slug, ORGANIZATION)
    listed = await site.send("GET", f"/api/0/projects/{ORGANIZATION}/{slug}/keys/")
    assert [key["name"] for key in listed.body] == keys
    number = len(keys)
    grown = {"projects": 1, "keys": number, "events": number, "audit_entries": 1 + number}
    assert await stored(site) == {name: count + grown.get(name, 0) for name, count in before.items()}
    transactions = await site.postgres.fetchval(
        """
        SELECT count(DISTINCT created.xmin::text) FROM (
            SELECT xmin FROM project WHERE slug = $1
            UNION ALL SELECT project_key.xmin FROM project_key JOIN project ON project.id = project_id
            WHERE slug = $1
        ) AS created
        """,
        slug,
    )
    assert transactions == 1


@pytest.mark.parametrize("path", [ORGANIZATIONS, PROJECTS], ids=["organization", "project"])
@pytest.mark.parametrize(
    ("body", "errors"),
    [
        pytest.param({}, {"name": ["This field is required."]}, id="no name"),
        pytest.param({"name": " "}, {"name": ["This field may not be blank."]}, id="a blank name"),
        pytest.param({"name": None}, {"name": ["This field may not be null."]}, id="a name of null"),
        pytest.param(
            {"name": "x" * 65}, {"name": ["Ensure this field has no more than 64 characters."]}, id="too long"
        ),
        pytest.param({"name": "x", "slug": "123"}, {"slug": [BAD_SLUG]}, id="a slug of digits"),
        pytest.param({"name": "x", "slug": "a b"}, {"slug": [BAD_SLUG]}, id="a slug with a space"),
        pytest.param({"name": "x", "slug": "a\n"}, {"slug": [BAD_SLUG]}, id="a slug with a line end"),
        pytest.param({"name": "x", "slug": "x" * 51}, {"slug": [BAD_SLUG]}, id="a slug of 51 letters"),
        pytest.param(
            {"name": "123"},
            {"slug": ['No slug can be derived from the name; set "slug".']},
            id="digits for a name",
        ),
        pytest.param(
            {"name": "\u2603"},
            {"slug": ['No slug can be derived from the name; set "slug".']},
            id="a snowman",
        ),
    ],
)
async def test_an_invalid_tenant_reports_the_errors_of_its_fields(
    site: Site, path: str, body: dict[str, Any], errors: dict[str, Any]
) -> None:
    """400, and nothing is stored."""
    async with storing_nothing(site):
        response = await site.send("POST", path, json=body)
    assert (response.status, response.body) == (400, errors)


async def test_a_slug_that_is_in_use_is_409(site: Site) -> None:
    """Also for concurrent requests; a project of another organization may have the same slug."""
    for path in (ORGANIZATIONS, PROJECTS):
        both = [site.send("POST", path, json={"name": "Twice", "slug": "twice"}) for _ in range(2)]
        responses: list[Response] = await asyncio.gather(*both)
        assert sorted(response.status for response in responses) == [201, 409]
        async with storing_nothing(site):
            again = await site.send("POST", path, json={"name": "Twice", "slug": "twice"})
        assert (again.status, again.body) == (409, {"detail": "This slug is already in use."})
    other = await site.send("POST", f"{ORGANIZATIONS}twice/projects/", json={"name": "Twice", "slug": "twice"})
    assert other.status == 201


async def test_only_an_unbound_token_creates_organizations(site: Site) -> None:
    """A token bound to an organization cannot, whatever its scopes."""
    token = await site.new_token(organization=ORGANIZATION)
    async with storing_nothing(site):
        response = await site.send("POST", ORGANIZATIONS, token=token, json={"name": "Mine"})
    assert (response.status, response.body) == (403, NO_PERMISSION)
