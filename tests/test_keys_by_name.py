"""Getting or creating a key by its name: which key is found, names in paths, concurrent and lost requests."""

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from yarl import URL

from service.app import Service
from service.domain.model import NewProjectKey
from tests.conftest import ORIGIN, make_project
from tests.http_service import Response, Site, storing_nothing
from tests.lossy_database import Loss, Losses
from tests.outbox import Postgres
from tests.test_expiry import in_time


async def _put(site: Site, name: str, body: Any = None, **options: Any) -> Response:
    """Send the request; the name is percent-encoded already."""
    url = URL(f"{site.keys_path}by-name/{name}/", encoded=True)
    return await site.send("PUT", url, json={} if body is None else body, **options)


async def _new_key(site: Site, name: str, **body: Any) -> str:
    response = await site.create({"name": name, **body})
    assert response.status == 201
    return str(response.body["id"])


async def _disable(site: Site, key: str) -> None:
    assert (await site.send("PUT", f"{site.keys_path}{key}/", json={"isActive": False})).status == 200


async def _expire(site: Site, key: str) -> None:
    await site.postgres.execute(
        "UPDATE project_key SET expires_at = now() - interval '1 s', is_active = false WHERE public_key = $1",
        key,
    )


async def test_a_key_is_created_once_and_found_from_then_on(site: Site) -> None:
    """The body is that of a new key; later it is validated and otherwise ignored."""
    body = {"rateLimit": {"window": 60, "count": 5}, "expiresAt": in_time(days=9), "name": "ignored"}
    created = await _put(site, "once", body)
    assert (created.status, created.body["name"], created.headers["Event-Status"]) == (201, "once", "pending")
    assert {name: created.body[name] for name in ("rateLimit", "expiresAt")} == {
        name: body[name] for name in ("rateLimit", "expiresAt")
    }
    async with storing_nothing(site):
        found = await _put(site, "once", {"browserSdkVersion": "9.x"})
        assert (found.status, found.body) == (200, created.body)
        assert (found.headers["Event-Status"], "Event-Id" in found.headers) == ("unchanged", False)
        invalid = await _put(site, "once", {"rateLimit": 5, "expiresAt": "x"})
    assert (invalid.status, set(invalid.body)) == (400, {"rateLimit", "expiresAt"})


async def test_of_several_active_keys_the_one_that_expires_last_is_found_then_the_oldest(site: Site) -> None:
    """A key without an expiry is the last; keys that are disabled or of other projects do not count."""
    name = "several"
    expected = [
        await _new_key(site, name),
        await _new_key(site, name),
        await _new_key(site, name, expiresAt=in_time(days=3)),
        await _new_key(site, name, expiresAt=in_time(days=2)),
    ]
    await site.new_project("several-other")
    await site.send("POST", site.keys_path.replace(site.project, "several-other"), json={"name": name})
    for key in expected:
        response = await _put(site, name)
        assert (response.status, response.body["id"]) == (200, key)
        await _disable(site, key)
    assert (await _put(site, name)).status == 409


async def test_a_rotated_key_is_found_by_its_successor(site: Site) -> None:
    """It expires, so the new one is found."""
    old = await _new_key(site, "rotated")
    new = (await site.send("POST", f"{site.keys_path}{old}/rotate/", json={})).body
    assert (await _put(site, "rotated")).body["id"] == new["id"]


async def test_a_key_that_was_disabled_by_a_request_prevents_a_new_one(site: Site) -> None:
    """409, which says what to do; an expired key, also one that was disabled before, does not."""
    key = await _new_key(site, "disabled")
    await _disable(site, key)
    async with storing_nothing(site):
        response = await _put(site, "disabled")
    assert (response.status, response.body) == (
        409,
        {"detail": "The key of this name is disabled. Enable it, delete it, or use another name."},
    )
    await _expire(site, key)
    created = await _put(site, "disabled")
    assert created.status == 201
    assert created.body["id"] != key


async def test_a_key_that_has_expired_and_is_not_disabled_yet_does_not_count(site: Site) -> None:
    """The caller would get a key that is about to be disabled."""
    key = await _new_key(site, "late")
    await site.postgres.execute(
        "UPDATE project_key SET expires_at = now() - interval '1 s' WHERE public_key = $1", key
    )
    assert (await _put(site, "late")).status == 201


@pytest.mark.parametrize(
    ("encoded", "name"),
    [
        ("a%20b", "a b"),
        ("%20%09padded%0A", "padded"),
        ("%F0%9F%94%91", "🔑"),
        ("a%2Fb", "a/b"),
        ("a%2fb%2F", "a/b/"),
        ("%2F", "/"),
        ("%252F", "%2F"),
        ("a+b", "a+b"),
        ("%3F%23%25", "?#%"),
        ("by-name", "by-name"),
        ("x" * 64, "x" * 64),
        ("%C3%A9" * 64, "é" * 64),
        ("..%2F..%2Fkeys", "../../keys"),
        ("'%3B%20DROP%20TABLE%20project_key", "'; DROP TABLE project_key"),
        ("100%25", "100%"),
    ],
)
async def test_any_name_can_be_in_a_path(site: Site, encoded: str, name: str) -> None:
    """Percent-encoded, slashes too; it is found by POST's form of the same name."""
    own = replace(site, project=f"names-{uuid4().hex}")
    await site.new_project(own.project)
    created = await _put(own, encoded)
    assert (created.status, created.body["name"]) == (201, name)
    assert (await _put(own, quote(name, safe=""))).body == created.body
    posted = await own.create({"name": name})
    assert posted.body["name"] == name


async def test_names_are_compared_exactly(site: Site) -> None:
    """Case and composition matter."""
    names = ("exact", "Exact", "exact%20%20x", "exact%20x", "%C3%A9xact", "e%CC%81xact")
    assert [(await _put(site, name)).status for name in names] == [201] * len(names)


@pytest.mark.parametrize(
    ("encoded", "errors"),
    [
        ("x" * 65, ["Ensure this field has no more than 64 characters."]),
        ("x" * 5000, ["Ensure this field has no more than 64 characters."]),
        ("a%00b", ["Null characters are not allowed."]),
        ("%20", ["This field may not be blank."]),
        ("%FF", ["Surrogate characters are not allowed: U+DCFF."]),
        ("%ED%A0%80", ["Surrogate characters are not allowed: U+DCED."]),
    ],
)
async def test_an_unsuitable_name_is_refused_before_the_body_is_read(
    site: Site, encoded: str, errors: list[str]
) -> None:
    """As an error of the field."""
    async with storing_nothing(site):
        response = await _put(site, encoded, {"rateLimit": 5})
    assert (response.status, response.body) == (400, {"name": errors})


async def test_other_methods_paths_and_tenants_are_refused_as_elsewhere(site: Site) -> None:
    """Also with an empty name, and with an unencoded slash."""
    await site.send("POST", "/api/0/organizations/", json={"name": "x", "slug": "by-name-other"})
    foreign, reader = await site.new_token(organization="by-name-other"), await site.new_token("project:read")
    async with storing_nothing(site):
        assert (await _put(site, "x", token=foreign)).status == 403
        assert (await _put(site, "x", token=reader)).status == 403
        assert (await _put(site, "")).status == 404
        assert (await _put(site, "a/b")).status == 404
        path = f"{site.keys_path}by-name/x/"
        assert [(await site.send(method, path)).status for method in ("GET", "POST", "DELETE")] == [405] * 3
        other = site.keys_path.replace(site.project, "none")
        assert (await site.send("PUT", f"{other}by-name/x/", json={})).status == 404


async def test_a_given_public_key_is_used_if_a_key_is_created(site: Site) -> None:
    """One that is in use is an error of its field, unless a key of the name is found."""
    public = "5" * 32
    assert (await _put(site, "given", {"public": public})).body["id"] == public
    assert (await _put(site, "given", {"public": public})).status == 200
    async with storing_nothing(site):
        taken = await _put(site, "given%20too", {"public": public})
    assert (taken.status, taken.body) == (400, {"public": ["This field must be unique."]})


async def test_fifty_callers_of_two_replicas_get_one_key(
    service: Service, second: Service, postgres: Postgres
) -> None:
    """One of them has created it."""
    project = await make_project(service)
    results = await asyncio.gather(
        *(
            replica.use_cases.create_key.get_or_create("shared", NewProjectKey(), project, ORIGIN)
            for _ in range(25)
            for replica in (service, second)
        )
    )
    assert len({result.key.public_key for result in results}) == 1
    assert sum(result.event_id is not None for result in results) == 1
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 1


@pytest.mark.parametrize("loss", Loss)
async def test_a_create_whose_commit_got_no_response_creates_one_key(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """The response is that of a new key; a repetition finds it."""
    project = await make_project(lossy)
    losses.next.extend([None, loss])
    created = await lossy.use_cases.create_key.get_or_create("lost", NewProjectKey(), project, ORIGIN)
    assert losses.suffered == 1
    assert created.event_id == await postgres.fetchval("SELECT id FROM outbox")
    found = await lossy.use_cases.create_key.get_or_create("lost", NewProjectKey(), project, ORIGIN)
    assert (found.key.public_key, found.event_id) == (created.key.public_key, None)
