"""Deleting keys: at once, for good, with an event; and what stands in the way."""

import asyncio

import pytest

from tests.http_service import NO_PERMISSION, NOT_FOUND, Site, stored, storing_nothing


async def _new_key(site: Site, **body: str) -> tuple[str, str]:
    answer = await site.create(body)
    assert answer.status == 201
    return f"{site.keys_path}{answer.body['id']}/", answer.body["id"]


async def test_a_deleted_key_is_gone(site: Site) -> None:
    """204 without a body; reading, changing and deleting it again are 404; it is in no list."""
    path, key = await _new_key(site)
    answer = await site.send("DELETE", path)
    assert (answer.status, answer.raw) == (204, b"")
    assert (answer.headers.get("Content-Type"), answer.headers["Allow"]) == (
        None,
        "GET, PUT, DELETE, HEAD, OPTIONS",
    )
    async with storing_nothing(site):
        again = [
            await site.send("GET", path),
            await site.send("PUT", path, json={}),
            await site.send("DELETE", path),
        ]
    assert [(one.status, one.body) for one in again] == [(404, NOT_FOUND)] * 3
    assert key not in [one["id"] for one in (await site.send("GET", site.keys_path)).body]


async def test_a_deletion_is_told_in_a_version_of_its_own(site: Site) -> None:
    """The answer names the event; the last state goes with it."""
    path, key = await _new_key(site, name="Short-lived")
    answer = await site.send("DELETE", path)
    row = await site.postgres.fetchrow(
        "SELECT id, type, version, payload ->> 'name' AS name FROM outbox"
        " WHERE aggregateid = $1 ORDER BY seq DESC LIMIT 1",
        key,
    )
    assert row is not None
    assert (row["type"], row["version"], row["name"]) == ("projectkey.deleted", 2, "Short-lived")
    assert (answer.headers["Event-Id"], answer.headers["Event-Status"]) == (str(row["id"]), "pending")


async def test_the_last_key_can_be_deleted(site: Site) -> None:
    """A project may have none."""
    assert (await site.new_project("soon-empty", defaultKey=True)).status == 201
    path = site.keys_path.replace(site.project, "soon-empty")
    [only] = (await site.send("GET", path)).body
    assert only["name"] == "Default"
    assert (await site.send("DELETE", f"{path}{only['id']}/")).status == 204
    assert (await site.send("GET", path)).body == []


async def test_of_many_deletions_at_once_one_does_it(site: Site) -> None:
    """The others are told that there is none."""
    path, _ = await _new_key(site)
    before = await stored(site)
    answers = await asyncio.gather(*(site.send("DELETE", path) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [204] + [404] * 9
    after = {"keys": before["keys"] - 1, "events": before["events"] + 1}
    assert await stored(site) == {**before, **after, "audit_entries": before["audit_entries"] + 1}


@pytest.mark.parametrize("scope", ["project:write", "project:read", "org:admin"])
async def test_only_an_admin_of_projects_deletes(site: Site, scope: str) -> None:
    """The refusal says which scope would do."""
    path, _ = await _new_key(site)
    token = await site.new_token(scope)
    async with storing_nothing(site):
        answer = await site.send("DELETE", path, token=token)
    assert (answer.status, answer.body) == (403, NO_PERMISSION)
    challenge = 'Bearer error="insufficient_scope", scope="project:admin"'
    assert answer.headers["WWW-Authenticate"] == challenge


async def test_its_owner_may_issue_a_deleted_key_again_and_its_versions_go_on(site: Site) -> None:
    """Consumers that know of its deletion would not believe a version 1."""
    path, key = await _new_key(site)
    assert (await site.send("DELETE", path)).status == 204
    assert (await site.create({"public": key})).status == 201
    versions = await site.postgres.fetch(
        "SELECT type, version FROM outbox WHERE aggregateid = $1 ORDER BY seq", key
    )
    assert [tuple(row) for row in versions] == [
        ("projectkey.created", 1),
        ("projectkey.deleted", 2),
        ("projectkey.created", 3),
    ]


async def test_another_organization_does_not_get_a_deleted_key(site: Site) -> None:
    """As if it still were in use."""
    path, key = await _new_key(site)
    assert (await site.send("DELETE", path)).status == 204
    await site.send("POST", "/api/0/organizations/", json={"name": "Heir", "slug": "heir"})
    await site.send("POST", "/api/0/organizations/heir/projects/", json={"name": "x", "slug": "x"})
    async with storing_nothing(site):
        answer = await site.send("POST", "/api/0/projects/heir/x/keys/", json={"public": key})
    assert (answer.status, answer.body) == (400, {"public": ["This field must be unique."]})


async def test_a_project_takes_its_keys_with_it(site: Site) -> None:
    """Each with its event; then it is not found any more, and its slug is free."""
    assert (await site.new_project("doomed")).status == 201
    path = site.keys_path.replace(site.project, "doomed")
    keys = [(await site.send("POST", path, json={})).body["id"] for _ in range(3)]
    project = path.removesuffix("keys/")
    answer = await site.send("DELETE", project)
    assert (answer.status, answer.raw) == (204, b"")
    told = await site.postgres.fetch(
        "SELECT aggregateid FROM outbox WHERE type = 'projectkey.deleted' AND aggregateid = ANY ($1)", keys
    )
    assert sorted(row["aggregateid"] for row in told) == sorted(keys)
    assert [(await site.send("GET", one)).status for one in (project, path)] == [404, 404]
    assert (await site.new_project("doomed")).status == 201
