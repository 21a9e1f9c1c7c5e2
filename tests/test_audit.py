"""The audit: every write is recorded once, with who, when, from where and what, and each tenant reads its own."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from service.app import Service
from service.domain.audit import ACTIONS, AuditSearch
from service.domain.pagination import Page
from service.usecases.parked import Parked
from tests.conftest import ORIGIN, Api, make_organization
from tests.http_service import NO_PERMISSION, NOT_FOUND, ORGANIZATION, Response, Site, storing_nothing
from tests.openapi import OPENAPI
from tests.outbox import Postgres

PATH = f"/api/0/organizations/{ORGANIZATION}/audit-logs/"
MEMBERS = [
    "id",
    "event",
    "actor",
    "dateCreated",
    "ipAddress",
    "target",
    "projectId",
    "data",
    "requestId",
    "changeId",
]


async def _read(api: Api, query: str = "") -> Any:
    response = await api.request("GET", f"{PATH}{query}")
    assert response.status == 200
    return await response.json()


async def _write_everything(api: Api) -> list[Any]:
    """One request for each action of an organization; returns the answers' bodies, the secrets among them."""
    organizations, projects = "/api/0/organizations/", f"/api/0/projects/{ORGANIZATION}"
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("PUT", f"{organizations}{ORGANIZATION}/", {"name": "Renamed"}),
        ("POST", f"{organizations}{ORGANIZATION}/projects/", {"name": "Web", "defaultKey": False}),
        ("PUT", f"{projects}/web/", {"slug": "shop"}),
        ("POST", f"{projects}/shop/keys/", {"name": "First", "public": "a" * 32}),
        ("PUT", f"{projects}/shop/keys/{'a' * 32}/", {"isActive": False}),
        ("DELETE", f"{projects}/shop/keys/{'a' * 32}/", None),
        ("DELETE", f"{projects}/shop/", None),
    ]
    bodies = []
    for number, (method, path, body) in enumerate(calls):
        response = await api.request(method, path, json=body, headers={"X-Request-Id": f"r-{number}"})
        assert response.status in {200, 201, 204}, (method, path, await response.text())
        bodies.append(await response.json() if response.status != 204 else None)
    return bodies


async def test_every_write_leaves_one_entry_with_who_when_from_where_and_what(service: Service, api: Api) -> None:
    """Newest first; what the fixtures made by hand, and the token bound to this organization, are there as well."""
    bodies = await _write_everything(api)
    await service.use_cases.tokens.create("ci", scopes=["project:read"], organization=ORGANIZATION)
    [bound] = [one for one in await service.use_cases.tokens.list() if one.name == "ci"]
    await service.use_cases.tokens.revoke(bound.id)
    read = await _read(api, "?per_page=100")
    rows = read["rows"]
    assert [(row["event"], row["target"], row["data"]) for row in rows] == [
        ("token.revoke", "ci", {"tokenId": bound.id}),
        (
            "token.create",
            "ci",
            {"tokenId": bound.id, "scopes": ["project:read"], "rateLimit": None, "expiresAt": None},
        ),
        ("project.remove", "shop", {"name": "Web"}),
        ("projectkey.remove", "a" * 32, {"name": "First"}),
        ("projectkey.edit", "a" * 32, {"isActive": {"from": True, "to": False}}),
        ("projectkey.create", "a" * 32, {"name": "First", "rateLimit": None}),
        ("project.edit", "web", {"slug": {"from": "web", "to": "shop"}}),
        ("project.create", "web", {"name": "Web"}),
        ("organization.edit", ORGANIZATION, {"name": {"from": ORGANIZATION, "to": "Renamed"}}),
        ("project.create", "pump-station", {"name": "pump-station"}),
        ("organization.create", ORGANIZATION, {"name": ORGANIZATION}),
    ]
    assert {row["event"] for row in rows} == set(ACTIONS) - {
        "event.discard",
        "projectkey.expire",
        "projectkey.rotate",
        "session.create",
        "session.end",
    }
    assert set(read["options"]) == set(ACTIONS)
    by_request = rows[2:9]
    assert {(row["actor"]["name"], row["ipAddress"]) for row in by_request} == {("test", "127.0.0.1")}
    assert [row["requestId"] for row in by_request] == [f"r-{number}" for number in reversed(range(7))]
    assert {(row["actor"]["id"], row["actor"]["name"]) for row in rows[:2]} == {(None, "command line")}
    assert all(list(row) == MEMBERS for row in rows)
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=1) < datetime.fromisoformat(row["dateCreated"]) < now for row in rows)
    secret = bodies[3]["secret"]
    assert secret not in str(rows)


async def test_letting_go_of_a_parked_event_leaves_an_entry(service: Service, api: Api, postgres: Postgres) -> None:
    """Consumers miss a version: whoever wonders why finds it here."""
    key = (await (await api.create({})).json())["id"]
    await postgres.execute("UPDATE outbox SET parked_at = now(), last_error = 'too large'")
    parked = Parked(service.database)
    row, _ = await parked.find(key)
    await parked.discard(row, ORIGIN)
    [entry] = (await _read(api, "?event=event.discard"))["rows"]
    assert (entry["target"], entry["projectId"]) == (key, api.project.id)
    assert entry["data"] == {"type": "projectkey.created", "version": 1, "reason": "too large"}


async def test_a_write_of_a_key_names_its_event(api: Api) -> None:
    """`changeId` is what the answer, the record's `ce_id` and the consumers call it."""
    response = await api.create({"name": "Fabulous Key"})
    [row] = (await _read(api, "?event=projectkey.create"))["rows"]
    assert row["changeId"] == response.headers["Event-Id"]
    assert row["projectId"] == api.project.id


async def test_what_is_refused_leaves_no_entry(site: Site) -> None:
    """A refusal is in the log; the audit tells of what happened."""
    bound = await site.new_token("project:read")
    async with storing_nothing(site):
        for answer in (
            await site.create({"name": 5.5, "public": "x"}),
            await site.send("POST", site.keys_path, token=bound, json={}),
            await site.send("DELETE", f"{site.keys_path}{'0' * 32}/"),
        ):
            assert answer.status in {400, 403, 404}


async def test_a_token_for_all_organizations_is_recorded_where_no_tenant_reads(service: Service, api: Api) -> None:
    """It belongs to the installation: the command line lists it."""
    await service.use_cases.tokens.create("everywhere", scopes=["org:admin"])
    assert [row for row in (await _read(api))["rows"] if row["event"].startswith("token.")] == []
    entries = await service.use_cases.audit.of_all(AuditSearch(action="token.create"), Page(size=10))
    assert [(one.target, one.organization_id) for one in entries] == [("everywhere", None), ("test", None)]


async def test_another_organization_s_entries_are_not_seen(service: Service, api: Api) -> None:
    """Neither in the list nor by a filter that names them."""
    other = await make_organization(service, "neighbour")
    rows = (await _read(api))["rows"] + (await _read(api, "?target=neighbour"))["rows"]
    assert rows
    assert "neighbour" not in str(rows)
    entries = await service.use_cases.audit.of_organization(str(other.id), AuditSearch(), Page(size=10))
    assert [one.target for one in entries] == ["neighbour"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("scope", ["org:write", "org:admin"])
async def test_a_scope_that_changes_the_organization_reads_it(site: Site, scope: str, method: str) -> None:
    """The permission that Sentry requires is also more than org:read."""
    token = await site.new_token(scope, organization=ORGANIZATION)
    assert (await site.send(method, PATH, token=token)).status == 200


@pytest.mark.parametrize("scope", ["org:read", "project:admin"])
async def test_a_scope_that_only_reads_the_organization_or_is_a_projects_gets_403(site: Site, scope: str) -> None:
    """Entries name tokens, client addresses and other projects; the response names the scopes that suffice."""
    token = await site.new_token(scope, organization=ORGANIZATION)
    answer = await site.send("GET", PATH, token=token)
    assert (answer.status, answer.body) == (403, NO_PERMISSION)
    assert answer.headers["WWW-Authenticate"] == ('Bearer error="insufficient_scope", scope="org:admin org:write"')
    assert (await site.send("HEAD", PATH, token=token)).status == 403


def test_the_openapi_document_names_the_scope() -> None:
    """The lowest one that suffices, as for every operation."""
    operation = OPENAPI["paths"]["/api/0/organizations/{organization}/audit-logs/"]["get"]
    assert operation["security"] == [{"token": ["org:write"]}]


async def test_an_organization_that_is_not_there_is_404(site: Site) -> None:
    """For a token of all; one that is bound gets 403 for each but its own."""
    answer = await site.send("GET", "/api/0/organizations/no-such-organization/audit-logs/")
    assert (answer.status, answer.body) == (404, NOT_FOUND)


def _relations(headers: Mapping[str, str]) -> dict[str, tuple[str, bool, str]]:
    """Path with query, results and cursor of each relation of the Link header."""
    form = re.compile(r'<https://keys\.example\.com(\S+)>; rel="(\w+)"; results="(\w+)"; cursor="(\S+)"')
    found = [form.fullmatch(one) for one in headers["Link"].split(", ")]
    assert all(found), headers["Link"]
    return {one[2]: (one[1], one[3] == "true", one[4]) for one in found if one}


def _ids(answer: Response) -> list[int]:
    return [int(row["id"]) for row in answer.body["rows"]]


async def test_pages_lead_from_the_newest_to_the_oldest_and_back(site: Site) -> None:
    """Each entry once, in the order of the ids; new ones that come meanwhile move nothing."""
    for number in range(7):
        await site.create({"name": f"Page {number}"})
    first = answer = await site.send("GET", f"{PATH}?per_page=3&event=projectkey.create")
    seen, pages = _ids(answer), [_ids(answer)]
    await site.create({"name": "Meanwhile"})
    while _relations(answer.headers)["next"][1]:
        answer = await site.send("GET", _relations(answer.headers)["next"][0])
        pages.append(_ids(answer))
        seen += pages[-1]
    assert len(seen) == len(set(seen)) >= 7
    assert seen == sorted(seen, reverse=True)
    assert {len(page) for page in pages[:-1]} == {3}
    assert _relations(first.headers)["previous"][1] is False
    end = await site.send("GET", _relations(answer.headers)["next"][0])
    assert _ids(end) == []
    back = await site.send("GET", _relations(answer.headers)["previous"][0])
    assert _ids(back) == pages[-2]
    top = await site.send("GET", f"{PATH}?per_page=3&event=projectkey.create&cursor={seen[0]}:0:1")
    assert len(_ids(top)) == 1, "the one that came meanwhile"
    assert _relations(top.headers)["previous"][1] is False
    assert _relations(top.headers)["next"][1:] == (True, f"{seen[0]}:0:0")


async def test_filters_find_an_event_an_actor_and_a_target(site: Site) -> None:
    """Each alone and together; what nobody has done has no rows."""
    made = await site.create({"name": "Sought"})
    key, path = made.body["id"], f"{site.keys_path}{made.body['id']}/"
    await site.send("PUT", path, json={"name": "Found"})
    token = await site.new_token(organization=ORGANIZATION)
    await site.send("DELETE", path, token=token)
    everything = (await site.send("GET", f"{PATH}?target={key}")).body["rows"]
    assert [row["event"] for row in everything] == [
        "projectkey.remove",
        "projectkey.edit",
        "projectkey.create",
    ]
    actor = everything[0]["actor"]["id"]
    assert actor != everything[1]["actor"]["id"]
    for query, number in (
        (f"actor={actor}", 1),
        (f"actor={actor}&event=projectkey.edit", 0),
        (f"target={key}&event=projectkey.edit", 1),
        ("event=member.add", 0),
        (f"target={quote(key[:-1])}%00", 0),
        ("target=%FF%C3", 0),
        (f"event=&actor=&target={key}", 3),
    ):
        answer = await site.send("GET", f"{PATH}?{query}")
        assert (answer.status, len(answer.body["rows"])) == (200, number), query


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        pytest.param("cursor=x", {"detail": "Invalid cursor parameter."}, id="no cursor"),
        pytest.param("cursor=1:2", {"detail": "Invalid cursor parameter."}, id="two thirds of a cursor"),
        pytest.param(f"cursor={'9' * 40}:0:0", {"detail": "Invalid cursor parameter."}, id="too great"),
        pytest.param("per_page=x", {"detail": "Invalid per_page parameter."}, id="per_page is no number"),
        pytest.param(
            "per_page=0",
            {"detail": "Invalid per_page value. Must be between 1 and 100."},
            id="an empty page",
        ),
        pytest.param(
            "per_page=101",
            {"detail": "Invalid per_page value. Must be between 1 and 100."},
            id="too long a page",
        ),
        pytest.param("actor=me", {"actor": ["A valid integer is required."]}, id="actor is no number"),
        pytest.param(
            f"actor={'9' * 30}",
            {"actor": ["Ensure this value is less than or equal to 9223372036854775807."]},
            id="an actor that no token can be",
        ),
    ],
)
async def test_what_makes_no_sense_in_the_query_is_400(site: Site, query: str, refusal: object) -> None:
    """In the words that the other lists have."""
    answer = await site.send("GET", f"{PATH}?{query}")
    assert (answer.status, answer.body) == (400, refusal)
