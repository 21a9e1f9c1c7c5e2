"""The search for keys of a project, the list of tokens and that of organizations."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from service.postgres import key_pages
from tests.http_service import ORGANIZATION, Response, Site


@pytest.fixture
async def project(site: Site) -> str:
    """The path of the keys of a new project, with keys of three kinds."""
    slug = f"search-{uuid4().hex[:8]}"
    assert (await site.new_project(slug)).status == 201
    path = f"/api/0/projects/{ORGANIZATION}/{slug}/keys/"
    for number in range(3):
        for name in (f"Web {number}", f"MOBILE {number}", f"100% ÄÖ_{number}"):
            await site.send("POST", path, json={"name": name})
    return path


def _names(response: Response) -> list[str]:
    assert response.status == 200
    return [key["name"] for key in response.body]


def _cursors(response: Response) -> Iterator[tuple[str, str]]:
    for relation, results, cursor in re.findall(
        r'rel="(\w+)"; results="(\w+)"; cursor="([^"]+)"', response.headers["Link"]
    ):
        if results == "true":
            yield relation, cursor


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("web", ["Web 2", "Web 1", "Web 0"]),
        ("mobile 1", ["MOBILE 1"]),
        ("äö", ["100% ÄÖ_2", "100% ÄÖ_1", "100% ÄÖ_0"]),
        ("%", ["100% ÄÖ_2", "100% ÄÖ_1", "100% ÄÖ_0"]),
        ("_1", ["100% ÄÖ_1"]),
        ("other", []),
        ("'; --", []),
        ("\x00", []),
        ("a" * 32, []),
    ],
)
async def test_a_search_finds_parts_of_names_in_whatever_case(
    site: Site, project: str, query: str, expected: list[str]
) -> None:
    """No character is a wildcard."""
    assert _names(await site.send("GET", project, params={"query": query})) == expected


async def test_a_public_key_is_found_exactly(site: Site, project: str) -> None:
    """In upper case too; with a status, only if the key has it; never a key of another project."""
    [key, *_] = (await site.send("GET", project)).body
    for text in (key["id"], key["id"].upper()):
        assert _names(await site.send("GET", project, params={"query": text})) == [key["name"]]
    inactive = await site.send("GET", project, params={"query": key["id"], "status": "inactive"})
    assert _names(inactive) == []
    assert _names(await site.send("GET", site.keys_path, params={"query": key["id"]})) == []


async def test_the_pages_of_a_search_lead_to_all_matches_and_back(site: Site, project: str) -> None:
    """In both directions, whatever lies between them."""
    parameters: dict[str, Any] = {"query": "web", "per_page": "2"}
    first = await site.send("GET", project, params=parameters)
    cursors = dict(_cursors(first))
    assert (_names(first), set(cursors)) == (["Web 2", "Web 1"], {"next"})
    second = await site.send("GET", project, params={**parameters, "cursor": cursors["next"]})
    cursors = dict(_cursors(second))
    assert (_names(second), set(cursors)) == (["Web 0"], {"previous"})
    back = await site.send("GET", project, params={**parameters, "cursor": cursors["previous"]})
    assert _names(back) == ["Web 2", "Web 1"]


async def test_a_search_reads_a_limited_number_of_keys_and_leads_on(
    site: Site, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages without a match are followed until all keys were read."""
    for name in ("_SEARCH_OLDER", "_LAST_OLDER", "_SEARCH_NEWER", "_LAST_NEWER"):
        text = getattr(key_pages, name)
        limit = key_pages.MAX_SEARCHED
        small = text.replace(f"LIMIT {limit}", "LIMIT 4").replace(f"OFFSET {limit - 1}", "OFFSET 3")
        monkeypatch.setattr(key_pages, name, small)
    parameters = {"query": "web"}
    found: list[list[str]] = []
    while True:
        page = await site.send("GET", project, params=parameters)
        found.append(_names(page))
        cursors = dict(_cursors(page))
        if "next" not in cursors:
            break
        parameters["cursor"] = cursors["next"]
    assert found == [["Web 2"], ["Web 1"], ["Web 0"]]


async def test_a_text_that_is_too_long_is_rejected(site: Site, project: str) -> None:
    """No name has more than 64 characters."""
    response = await site.send("GET", project, params={"query": "x" * 65})
    assert (response.status, list(response.body)) == (400, ["query"])


async def test_the_list_of_tokens_has_those_of_the_organization_without_their_values(site: Site) -> None:
    """In pages; a token of all organizations is not in it."""
    path = f"/api/0/organizations/{ORGANIZATION}/tokens/"
    token = await site.new_token("project:read", organization=ORGANIZATION)
    response = await site.send("GET", path, params={"per_page": "1"})
    assert token not in response.raw.decode()
    assert [each["tokenLastCharacters"] for each in response.body] == [token[-4:]]
    assert site.token[-4:] not in [each["tokenLastCharacters"] for each in (await site.send("GET", path)).body]
    assert (await site.send("GET", path, token=token)).status == 403


async def test_the_list_of_organizations_depends_on_the_token(site: Site) -> None:
    """A token of one organization gets that one."""
    await site.send("POST", "/api/0/organizations/", json={"name": "Another", "slug": "another-one"})
    bound = await site.new_token(organization=ORGANIZATION)
    one = await site.send("GET", "/api/0/organizations/", token=bound)
    everything = await site.send("GET", "/api/0/organizations/")
    assert [each["slug"] for each in one.body] == [ORGANIZATION]
    assert {"another-one", ORGANIZATION} <= {each["slug"] for each in everything.body}
    page = await site.send("GET", "/api/0/organizations/", params={"per_page": "1"})
    assert (len(page.body), dict(_cursors(page))) == (1, {"next": "1:1:0"})


async def test_the_state_of_publishing_is_that_of_the_installation(site: Site) -> None:
    """For any token; the site has no publisher, so its events wait."""
    await site.create({})
    status = (await site.send("GET", "/console/status", token=await site.new_token("project:read"))).body
    assert (status["kafka"], status["parked"]) == ("ok", 0)
    assert status["oldestEventAgeSeconds"] >= 0
    assert (await site.send("GET", "/console/status", token="")).status == 401
