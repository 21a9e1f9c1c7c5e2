"""Organizations and projects over HTTP, and that no tenant sees or touches another's."""

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
    """Another organization with a project of the same slug and a key in it, by id and by slug."""
    organization = await site.send("POST", ORGANIZATIONS, json={"name": "Neighbour", "slug": "neighbour"})
    project = await site.send(
        "POST", f"{ORGANIZATIONS}neighbour/projects/", json={"name": "Theirs", "slug": site.project}
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
    return [f"/api/0/projects/{one}/{project}/keys/" for one in organizations for project in projects]


async def test_another_organization_is_403_whether_or_not_it_exists(
    site: Site, neighbour: dict[str, str]
) -> None:
    """By slug and by id, with each method, also with a project of one's own in the path: always the same bytes."""
    token = await site.new_token(organization=ORGANIZATION)
    seen = set[tuple[int, bytes]]()
    async with storing_nothing(site):
        for path in _paths(site, neighbour):
            answers = [
                await site.send("GET", path, token=token),
                await site.send("POST", path, token=token, json={}),
                await site.send("GET", f"{path}{neighbour['key']}/", token=token),
            ]
            seen.update((answer.status, answer.raw) for answer in answers)
            assert all("WWW-Authenticate" not in answer.headers for answer in answers)
        for one in ("neighbour", neighbour["organization"], "no-such-organization"):
            made = await site.send("POST", f"{ORGANIZATIONS}{one}/projects/", token=token, json={"name": "x"})
            seen.add((made.status, made.raw))
    assert seen == {(403, b'{"detail":"You do not have permission to perform this action."}')}


@pytest.mark.parametrize("organization", ["id", "slug"])
async def test_a_bound_token_works_in_its_own_organization(site: Site, organization: str) -> None:
    """By slug and by id; a key made with it is the same project's."""
    token = await site.new_token(organization=ORGANIZATION)
    part = {"id": site.organization_id, "slug": ORGANIZATION}[organization]
    path = f"/api/0/projects/{part}/{site.project}/keys/"
    made = await site.send("POST", path, token=token, json={})
    assert (made.status, made.body["projectId"]) == (201, site.project_id)
    assert (await site.send("GET", path, token=token)).body[0] == made.body
    missing = await site.send("GET", f"/api/0/projects/{part}/no-such-project/keys/", token=token)
    assert (missing.status, missing.body) == (404, NOT_FOUND)


@pytest.mark.parametrize("bound", [True, False], ids=["a token of one organization", "a token of all"])
async def test_a_path_that_mixes_two_tenants_leads_nowhere(
    site: Site, neighbour: dict[str, str], *, bound: bool
) -> None:
    """One's own organization with another's project or key: 404, and nothing is written."""
    token = await site.new_token(organization=ORGANIZATION if bound else None)
    project = f"/api/0/projects/{ORGANIZATION}/{neighbour['project']}/keys/"
    async with storing_nothing(site):
        answers = [
            await site.send("GET", project, token=token),
            await site.send("POST", project, token=token, json={}),
            await site.send("GET", f"{project}{neighbour['key']}/", token=token),
            await site.send("GET", f"{site.keys_path}{neighbour['key']}/", token=token),
        ]
    assert [(answer.status, answer.body) for answer in answers] == [(404, NOT_FOUND)] * 4


async def test_reads_of_two_tenants_at_once_are_kept_apart(site: Site, neighbour: dict[str, str]) -> None:
    """They share a statement and still see only their own."""
    own = (await site.create({})).body["id"]
    theirs = f"/api/0/projects/neighbour/{site.project}/keys/"
    answers = await asyncio.gather(
        *(site.send("GET", f"{site.keys_path}{key}/") for key in [own, neighbour["key"]] * 5),
        *(site.send("GET", f"{theirs}{key}/") for key in [own, neighbour["key"]] * 5),
    )
    assert [answer.status for answer in answers] == [200, 404] * 5 + [404, 200] * 5


async def test_a_token_of_all_gets_404_for_what_does_not_exist(site: Site) -> None:
    """It may know."""
    async with storing_nothing(site):
        answers = [
            await site.send("GET", "/api/0/projects/no-such-organization/x/keys/"),
            await site.send("POST", f"{ORGANIZATIONS}no-such-organization/projects/", json={"name": "x"}),
        ]
    assert [(answer.status, answer.body) for answer in answers] == [(404, NOT_FOUND)] * 2


async def test_a_new_organization_is_answered_and_audited(site: Site) -> None:
    """No event: nobody ingests for an organization without keys."""
    before = await stored(site)
    answer = await site.send("POST", ORGANIZATIONS, json={"name": " Ümläut & Söhne "})
    assert answer.status == 201
    assert list(answer.body) == ["id", "slug", "name", "dateCreated", "ingestUrl"]
    assert (answer.body["slug"], answer.body["name"]) == ("umlaut-sohne", "Ümläut & Söhne")
    assert answer.body["id"].isdigit()
    assert answer.headers["Allow"] == "POST, OPTIONS"
    grown = {"organizations": 1, "audit_entries": 1}
    assert await stored(site) == {name: count + grown.get(name, 0) for name, count in before.items()}


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        pytest.param({}, ["Default"], id="unasked"),
        pytest.param({"defaultKey": True}, ["Default"], id="asked for"),
        pytest.param({"defaultKey": False}, [], id="not wanted"),
    ],
)
async def test_a_new_project_has_a_first_key_unless_told_otherwise(
    site: Site, said: dict[str, Any], keys: list[str]
) -> None:
    """The key comes with its event and its audit entry, all in the project's transaction."""
    before = await stored(site)
    slug = f"first-{len(said)}-{len(keys)}"
    answer = await site.send("POST", PROJECTS, json={"name": "First", "slug": slug, **said})
    assert answer.status == 201
    assert list(answer.body) == ["id", "slug", "name", "dateCreated", "organization"]
    assert (answer.body["slug"], answer.body["organization"]["slug"]) == (slug, ORGANIZATION)
    listed = await site.send("GET", f"/api/0/projects/{ORGANIZATION}/{slug}/keys/")
    assert [key["name"] for key in listed.body] == keys
    number = len(keys)
    grown = {"projects": 1, "keys": number, "events": number, "audit_entries": 1 + number}
    assert await stored(site) == {name: count + grown.get(name, 0) for name, count in before.items()}
    transactions = await site.postgres.fetchval(
        """
        SELECT count(DISTINCT made.xmin::text) FROM (
            SELECT xmin FROM project WHERE slug = $1
            UNION ALL SELECT project_key.xmin FROM project_key JOIN project ON project.id = project_id
            WHERE slug = $1
        ) AS made
        """,
        slug,
    )
    assert transactions == 1


@pytest.mark.parametrize("path", [ORGANIZATIONS, PROJECTS], ids=["organization", "project"])
@pytest.mark.parametrize(
    ("body", "refusal"),
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
async def test_what_makes_no_tenant_is_refused_by_its_field(
    site: Site, path: str, body: dict[str, Any], refusal: dict[str, Any]
) -> None:
    """400, and nothing is stored."""
    async with storing_nothing(site):
        answer = await site.send("POST", path, json=body)
    assert (answer.status, answer.body) == (400, refusal)


async def test_a_slug_that_is_in_use_is_409(site: Site) -> None:
    """Also when two want it at the same time; in another organization a project may have it."""
    for path in (ORGANIZATIONS, PROJECTS):
        both = [site.send("POST", path, json={"name": "Twice", "slug": "twice"}) for _ in range(2)]
        answers: list[Response] = await asyncio.gather(*both)
        assert sorted(answer.status for answer in answers) == [201, 409]
        async with storing_nothing(site):
            again = await site.send("POST", path, json={"name": "Twice", "slug": "twice"})
        assert (again.status, again.body) == (409, {"detail": "This slug is already in use."})
    other = await site.send(
        "POST", f"{ORGANIZATIONS}twice/projects/", json={"name": "Twice", "slug": "twice"}
    )
    assert other.status == 201


async def test_only_a_token_of_all_makes_organizations(site: Site) -> None:
    """A token of one has no say beyond it, whatever its scopes."""
    token = await site.new_token(organization=ORGANIZATION)
    async with storing_nothing(site):
        answer = await site.send("POST", ORGANIZATIONS, token=token, json={"name": "Mine"})
    assert (answer.status, answer.body) == (403, NO_PERMISSION)
