"""Rotation over HTTP: the new key, the old one, their events, and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from service.domain.events import time_to_json
from service.usecases.rotate_key import second_event_id
from tests.http_service import NOT_FOUND, Response, Site, storing_nothing
from tests.test_expiry import in_time

SETTINGS = {
    "name": "Web",
    "rateLimit": {"window": 60, "count": 10},
    "browserSdkVersion": "8.x",
    "dynamicSdkLoaderOptions": {"hasDebug": True},
}
DAY = timedelta(days=1)


async def _new_key(site: Site, **body: Any) -> dict[str, Any]:
    response = await site.create(body)
    assert response.status == 201
    key: dict[str, Any] = response.body
    return key


async def _rotate(site: Site, key: str, body: Any = None, **options: Any) -> Response:
    return await site.send("POST", f"{site.keys_path}{key}/rotate/", json={} if body is None else body, **options)


async def _get(site: Site, key: str) -> dict[str, Any]:
    body: dict[str, Any] = (await site.send("GET", f"{site.keys_path}{key}/")).body
    return body


def _is_about(text: str, *, expected: timedelta) -> bool:
    left = datetime.fromisoformat(text) - datetime.now(UTC)
    return expected - min(expected, timedelta(hours=1)) < left <= expected


async def test_the_new_key_has_the_settings_of_the_old_one_which_expires_after_the_overlap(
    site: Site,
) -> None:
    """A day by default; both events are committed in one transaction, and `Event-Id` is that of the new key."""
    old = await _new_key(site, **SETTINGS)
    response = await _rotate(site, old["id"])
    new, after = response.body, await _get(site, old["id"])
    assert response.status == 201
    different = {"id", "public", "secret", "dsn", "dateCreated"}
    assert {name for name in old if old[name] != new[name]} == different
    assert await _get(site, new["id"]) == new
    assert {**after, "expiresAt": None} == {**old, "expiresAt": None}
    assert _is_about(after["expiresAt"], expected=DAY)
    rows = await site.postgres.fetch(
        "SELECT id, type, version, payload, xmin FROM outbox"
        " WHERE aggregateid = $1 OR aggregateid = $2 AND version > 1 ORDER BY seq",
        new["id"],
        old["id"],
    )
    assert [(row["type"], row["version"]) for row in rows] == [
        ("projectkey.created", 1),
        ("projectkey.updated", 2),
    ]
    assert rows[0]["xmin"] == rows[1]["xmin"]
    assert response.headers["Event-Id"] == str(rows[0]["id"])
    assert rows[1]["id"] == second_event_id(rows[0]["id"], old["id"])
    states = [orjson.loads(row["payload"]) for row in rows]
    assert [state["expiresAt"] for state in states] == [None, after["expiresAt"]]
    assert not any("rotat" in text for text in (response.raw.decode(), rows[0]["payload"], rows[1]["payload"]))
    rotated_to = "SELECT rotated_to FROM project_key WHERE public_key = $1"
    assert await site.postgres.fetchval(rotated_to, old["id"]) == new["id"]
    audit = await site.postgres.fetchrow(
        "SELECT action, data FROM audit_entry WHERE target = $1 ORDER BY id DESC LIMIT 1", old["id"]
    )
    assert audit is not None
    assert audit["action"] == "projectkey.rotate"
    assert orjson.loads(audit["data"]) == {
        "expiresAt": {"from": None, "to": after["expiresAt"]},
        "rotatedTo": new["id"],
    }


@pytest.mark.parametrize(
    ("own", "body", "old_left", "new_left"),
    [
        (None, {}, DAY, None),
        (None, {"overlap": 31_536_000}, 365 * DAY, None),
        (None, {"overlap": "3600"}, timedelta(hours=1), None),
        (7 * DAY, {}, DAY, 7 * DAY),
        (7 * DAY, {"overlap": 30 * 86_400}, 7 * DAY, 7 * DAY),
        (7 * DAY, {"expiresAt": None}, DAY, None),
        (None, {"expiresAt": in_time(days=90)}, DAY, 90 * DAY),
        (7 * DAY, {"expiresAt": in_time(days=90), "overlap": 60}, timedelta(minutes=1), 90 * DAY),
    ],
)
async def test_the_new_key_inherits_the_expiry_and_the_old_one_never_gets_a_later_one(
    site: Site, own: timedelta | None, body: dict[str, Any], old_left: timedelta, new_left: timedelta | None
) -> None:
    """Unless the body sets another one for the new key."""
    old = await _new_key(site, **({} if own is None else {"expiresAt": time_to_json(datetime.now(UTC) + own)}))
    new = (await _rotate(site, old["id"], body)).body
    after = await _get(site, old["id"])
    assert after["isActive"] is True
    assert _is_about(after["expiresAt"], expected=old_left)
    assert ("expiresAt" in new) is (new_left is not None)
    assert new_left is None or _is_about(new["expiresAt"], expected=new_left)


async def test_without_an_overlap_the_old_key_is_disabled_in_the_same_transaction(site: Site) -> None:
    """And cannot be enabled by mistake."""
    old = await _new_key(site)
    new = (await _rotate(site, old["id"], {"overlap": 0, "name": "Newer"})).body
    after = await _get(site, old["id"])
    assert (new["name"], new["isActive"], after["isActive"]) == ("Newer", True, False)
    assert datetime.fromisoformat(after["expiresAt"]) <= datetime.now(UTC)
    enabled = await site.send("PUT", f"{site.keys_path}{old['id']}/", json={"isActive": True})
    assert enabled.status == 400


NO_INTEGERS: list[Any] = ["soon", "", "1e3", 1.5, True, False, [], {}, "\x00", "P1D"]
BAD: list[tuple[Any, Any]] = [
    ({"overlap": -1}, {"overlap": ["Ensure this value is greater than or equal to 0."]}),
    ({"overlap": 31_536_001}, {"overlap": ["Ensure this value is less than or equal to 31536000."]}),
    ({"overlap": 10**400}, {"overlap": ["Ensure this value is less than or equal to 31536000."]}),
    *(({"overlap": value}, {"overlap": ["A valid integer is required."]}) for value in NO_INTEGERS),
    ({"overlap": None}, {"overlap": ["This field may not be null."]}),
    ({"overlap": "9" * 1001}, {"overlap": ["String value too large."]}),
    ({"name": "x" * 65, "expiresAt": "2020-01-01T00:00:00Z", "overlap": "x"}, {
        "name": ["Ensure this field has no more than 64 characters."],
        "expiresAt": ["Enter a time in the future."],
        "overlap": ["A valid integer is required."],
    }),
    ([], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "errors"), BAD, ids=lambda value: repr(value)[:40])
async def test_bad_input_is_refused_and_changes_nothing(site: Site, body: Any, errors: Any) -> None:
    """With the errors of all fields."""
    old = await _new_key(site)
    async with storing_nothing(site):
        response = await _rotate(site, old["id"], body)
    assert (response.status, response.body) == (400, errors)
    assert await _get(site, old["id"]) == old


async def test_only_an_active_key_without_a_successor_is_rotated(site: Site) -> None:
    """409, which says what to do; after that has been done, the rotation succeeds."""
    old = await _new_key(site)
    path = f"{site.keys_path}{old['id']}/"
    await site.send("PUT", path, json={"isActive": False})
    response = await _rotate(site, old["id"])
    assert (response.status, response.body["detail"]) == (
        409,
        "The key is disabled. Enable it first, or create another key.",
    )
    await site.send("PUT", path, json={"isActive": True})
    first = (await _rotate(site, old["id"])).body
    async with storing_nothing(site):
        response = await _rotate(site, old["id"])
    assert (response.status, response.body["detail"]) == (
        409,
        f"The key was rotated to {first['id']}. Rotate that key, or delete it first.",
    )
    second = (await _rotate(site, first["id"])).body
    assert second["id"] not in {old["id"], first["id"]}
    await site.send("DELETE", f"{site.keys_path}{first['id']}/")
    assert (await _rotate(site, old["id"])).status == 201


async def test_an_expired_key_is_not_rotated(site: Site) -> None:
    """Also before it has been disabled."""
    old = await _new_key(site, expiresAt=in_time(days=1))
    await site.postgres.execute(
        "UPDATE project_key SET expires_at = now() - interval '1 s' WHERE public_key = $1", old["id"]
    )
    async with storing_nothing(site):
        response = await _rotate(site, old["id"])
    assert (response.status, response.body["detail"]) == (
        409,
        "The key has expired. Set expiresAt to a later time or to null first.",
    )


async def test_an_unknown_key_and_a_foreign_tenant_are_refused_as_elsewhere(site: Site) -> None:
    """404 precedes errors of the body; another tenant's token gets 403 whether or not the key exists."""
    old = await _new_key(site)
    await site.send("POST", "/api/0/organizations/", json={"name": "x", "slug": "rotation-other"})
    foreign = await site.new_token(organization="rotation-other")
    reader = await site.new_token("project:read")
    async with storing_nothing(site):
        assert (await _rotate(site, "0" * 32, {"overlap": -1})).body == NOT_FOUND
        assert (await _rotate(site, "no-key", {})).status == 404
        for key in (old["id"], "0" * 32):
            assert (await _rotate(site, key, token=foreign)).status == 403
        assert (await _rotate(site, old["id"], token=reader)).status == 403
        assert (await site.send("GET", f"{site.keys_path}{old['id']}/rotate/")).status == 405


async def test_an_idempotency_key_rotates_once(site: Site) -> None:
    """A repetition returns the same key until it or the old one is deleted; another request with it is refused."""
    old, headers = await _new_key(site), {"Idempotency-Key": "rotation-once"}
    responses = await asyncio.gather(*(_rotate(site, old["id"], headers=headers) for _ in range(10)))
    assert {response.status for response in responses} <= {201, 409}
    [key] = {response.body["id"] for response in responses if response.status == 201}
    repeated = await _rotate(site, old["id"], headers=headers)
    assert (repeated.status, repeated.body["id"], repeated.headers["Idempotent-Replayed"]) == (
        201,
        key,
        "true",
    )
    assert (await _rotate(site, old["id"], {"overlap": 0}, headers=headers)).status == 422
    await site.send("DELETE", f"{site.keys_path}{key}/")
    assert (await _rotate(site, old["id"], headers=headers)).status == 410
    await site.send("DELETE", f"{site.keys_path}{old['id']}/")
    assert (await _rotate(site, old["id"], headers=headers)).status == 404


async def test_of_concurrent_rotations_one_succeeds(site: Site) -> None:
    """The others name its key."""
    old = await _new_key(site)
    responses = await asyncio.gather(*(_rotate(site, old["id"], {"overlap": 0}) for _ in range(8)))
    [new] = [response.body for response in responses if response.status == 201]
    assert {response.status for response in responses} == {201, 409}
    assert all(new["id"] in response.body["detail"] for response in responses if response.status == 409)
