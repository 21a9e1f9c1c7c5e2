"""Deleting keys: the effect, the event and the errors."""

import asyncio

import pytest

from tests.http_service import NO_PERMISSION, NOT_FOUND, Site, stored, storing_nothing


async def _new_key(site: Site, **body: str) -> tuple[str, str]:
    response = await site.create(body)
    assert response.status == 201
    return f"{site.keys_path}{response.body['id']}/", response.body["id"]


async def test_a_deleted_key_is_not_found(site: Site) -> None:
    """204 without a body; reading, changing and deleting it are 404 then; no list contains it."""
    path, key = await _new_key(site)
    response = await site.send("DELETE", path)
    assert (response.status, response.raw) == (204, b"")
    assert (response.headers.get("Content-Type"), response.headers["Allow"]) == (
        None,
        "GET, PUT, DELETE, HEAD, OPTIONS",
    )
    async with storing_nothing(site):
        again = [
            await site.send("GET", path),
            await site.send("PUT", path, json={}),
            await site.send("DELETE", path),
        ]
    assert [(response.status, response.body) for response in again] == [(404, NOT_FOUND)] * 3
    assert key not in [listed["id"] for listed in (await site.send("GET", site.keys_path)).body]


async def test_a_deletion_has_an_event_with_its_own_version(site: Site) -> None:
    """The response contains the id of the event; the event contains the last state."""
    path, key = await _new_key(site, name="Short-lived")
    response = await site.send("DELETE", path)
    row = await site.postgres.fetchrow(
        "SELECT id, type, version, payload ->> 'name' AS name FROM outbox"
        " WHERE aggregateid = $1 ORDER BY seq DESC LIMIT 1",
        key,
    )
    assert row is not None
    assert (row["type"], row["version"], row["name"]) == ("projectkey.deleted", 2, "Short-lived")
    assert (response.headers["Event-Id"], response.headers["Event-Status"]) == (str(row["id"]), "pending")


async def test_the_last_key_can_be_deleted(site: Site) -> None:
    """A project may have no keys."""
    assert (await site.new_project("soon-empty", defaultKey=True)).status == 201
    path = site.keys_path.replace(site.project, "soon-empty")
    [only] = (await site.send("GET", path)).body
    assert only["name"] == "Default"
    assert (await site.send("DELETE", f"{path}{only['id']}/")).status == 204
    assert (await site.send("GET", path)).body == []


async def test_of_concurrent_deletions_one_succeeds(site: Site) -> None:
    """The others are 404."""
    path, _ = await _new_key(site)
    before = await stored(site)
    responses = await asyncio.gather(*(site.send("DELETE", path) for _ in range(10)))
    assert sorted(response.status for response in responses) == [204] + [404] * 9
    after = {"keys": before["keys"] - 1, "events": before["events"] + 1}
    assert await stored(site) == {**before, **after, "audit_entries": before["audit_entries"] + 1}


@pytest.mark.parametrize("scope", ["project:write", "project:read", "org:admin"])
async def test_only_project_admin_permits_deletion(site: Site, scope: str) -> None:
    """The error names the scope."""
    path, _ = await _new_key(site)
    token = await site.new_token(scope)
    async with storing_nothing(site):
        response = await site.send("DELETE", path, token=token)
    assert (response.status, response.body) == (403, NO_PERMISSION)
    challenge = 'Bearer error="insufficient_scope", scope="project:admin"'
    assert response.headers["WWW-Authenticate"] == challenge


async def test_its_organization_may_create_a_deleted_key_again_with_the_next_version(site: Site) -> None:
    """Consumers that received the deletion would ignore version 1."""
    path, key = await _new_key(site)
    assert (await site.send("DELETE", path)).status == 204
    assert (await site.create({"public": key})).status == 201
    versions = await site.postgres.fetch("SELECT type, version FROM outbox WHERE aggregateid = $1 ORDER BY seq", key)
    assert [tuple(row) for row in versions] == [
        ("projectkey.created", 1),
        ("projectkey.deleted", 2),
        ("projectkey.created", 3),
    ]


async def test_another_organization_cannot_create_a_deleted_key(site: Site) -> None:
    """The error is that of a key in use."""
    path, key = await _new_key(site)
    assert (await site.send("DELETE", path)).status == 204
    await site.send("POST", "/api/0/organizations/", json={"name": "Heir", "slug": "heir"})
    await site.send("POST", "/api/0/organizations/heir/projects/", json={"name": "x", "slug": "x"})
    async with storing_nothing(site):
        response = await site.send("POST", "/api/0/projects/heir/x/keys/", json={"public": key})
    assert (response.status, response.body) == (400, {"public": ["This field must be unique."]})


async def test_deleting_a_project_deletes_its_keys(site: Site) -> None:
    """Each with an event; then the project is not found, and its slug is free."""
    assert (await site.new_project("doomed")).status == 201
    path = site.keys_path.replace(site.project, "doomed")
    keys = [(await site.send("POST", path, json={})).body["id"] for _ in range(3)]
    project = path.removesuffix("keys/")
    response = await site.send("DELETE", project)
    assert (response.status, response.raw) == (204, b"")
    events = await site.postgres.fetch(
        "SELECT aggregateid FROM outbox WHERE type = 'projectkey.deleted' AND aggregateid = ANY ($1)", keys
    )
    assert sorted(row["aggregateid"] for row in events) == sorted(keys)
    assert [(await site.send("GET", deleted)).status for deleted in (project, path)] == [404, 404]
    assert (await site.new_project("doomed")).status == 201
