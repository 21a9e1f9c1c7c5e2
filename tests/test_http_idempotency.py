"""Requests that are sent twice and happen once."""

import asyncio
from typing import Any
from uuid import uuid4

import orjson
import pytest

from service.postgres.idempotency import select_result
from service.usecases import idempotency
from tests.http_service import ORGANIZATION, Site, stored, storing_nothing, with_more_keys

PROJECTS = f"/api/0/organizations/{ORGANIZATION}/projects/"
BAD_KEY = {"detail": "The Idempotency-Key must be 1 to 255 visible ASCII characters."}


def _once(key: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid4())}


async def test_a_repeated_create_is_answered_with_the_key_that_the_first_one_made(site: Site) -> None:
    """The same bytes, the same event, and a header that says so; one key."""
    before, headers = await stored(site), _once()
    first = await site.create({"name": "Once"}, headers=headers)
    again = await site.create({"name": "Once"}, headers=headers)
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert again.headers["Event-Id"] == first.headers["Event-Id"]
    assert await stored(site) == with_more_keys(before, 1)


async def test_a_replay_has_the_present_status_of_the_event(site: Site) -> None:
    """The publisher has deleted the row when Kafka has the event; the request does not wait."""
    headers = _once()
    first = await site.create({"name": "Once"}, headers=headers)
    again = await site.create({"name": "Once"}, headers=headers)
    assert (first.headers["Event-Status"], again.headers["Event-Status"]) == ("pending", "pending")
    await site.postgres.execute("DELETE FROM outbox WHERE id = $1", first.headers["Event-Id"])
    for preference in ({}, {"Prefer": "wait=0"}):
        later = await site.create({"name": "Once"}, headers={**headers, **preference})
        assert (later.headers["Idempotent-Replayed"], later.headers["Event-Status"]) == ("true", "published")


async def test_a_replay_shows_the_key_as_it_is_now(site: Site) -> None:
    """Not as it was: no answer is kept, for it holds a secret."""
    headers = _once()
    first = await site.create({"name": "Once"}, headers=headers)
    path = f"{site.keys_path}{first.body['id']}/"
    changed = await site.send("PUT", path, json={"name": "Later", "isActive": False})
    again = await site.create({"name": "Once"}, headers=headers)
    assert (again.status, again.body) == (201, changed.body)
    row = await site.postgres.fetchrow("SELECT * FROM idempotency WHERE key = $1", headers["Idempotency-Key"])
    assert row is not None
    assert first.body["secret"] not in repr(tuple(row))


async def test_a_replay_of_a_deleted_key_is_410(site: Site) -> None:
    """It was made, and it is gone: making another would not be what was asked."""
    headers = _once()
    first = await site.create({}, headers=headers)
    assert (await site.send("DELETE", f"{site.keys_path}{first.body['id']}/")).status == 204
    async with storing_nothing(site):
        again = await site.create({}, headers=headers)
    detail = "The resource created by the original request was deleted."
    assert (again.status, again.body) == (410, {"detail": detail})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        pytest.param({"name": "Other"}, "", id="another body"),
        pytest.param({"name": "Once", "unknown": 1}, "", id="a member more"),
        pytest.param({"name": "Once"}, PROJECTS, id="another path"),
    ],
)
async def test_another_request_under_a_used_key_is_422(site: Site, body: Any, path: str) -> None:
    """A mistake of the caller's, and nothing is done."""
    headers = _once()
    await site.create({"name": "Once"}, headers=headers)
    async with storing_nothing(site):
        answer = await site.send("POST", path or site.keys_path, json=body, headers=headers)
    assert (answer.status, answer.body) == (
        422,
        {"detail": "This Idempotency-Key was used for another request."},
    )


async def test_the_same_request_in_other_bytes_is_the_same(site: Site) -> None:
    """White space and the order of members say nothing; neither do quotes round the key."""
    key = str(uuid4())
    one = {"name": "Once", "rateLimit": {"window": 1, "count": 2}}
    other = b' { "rateLimit": {"count":2,"window":1}, "name" : "Once" } '
    headers = {"Content-Type": "application/json"}
    first = await site.send(
        "POST", site.keys_path, data=orjson.dumps(one), headers={**headers, "Idempotency-Key": key}
    )
    again = await site.send("POST", site.keys_path, data=other, headers={**headers, "Idempotency-Key": f'"{key}"'})
    assert (first.status, again.status, again.body) == (201, 201, first.body)


async def test_another_token_may_use_the_same_key(site: Site) -> None:
    """A key is its caller's own."""
    headers = _once()
    first = await site.create({}, headers=headers)
    second = await site.create({}, headers=headers, token=await site.new_token())
    assert (first.status, second.status) == (201, 201)
    assert first.body["id"] != second.body["id"]
    assert "Idempotent-Replayed" not in second.headers


@pytest.mark.parametrize("key", ["", '""', "a b", "ä", "x" * 256, "\x7f", " "])
async def test_a_key_that_is_none_is_400(site: Site, key: str) -> None:
    """Before anything is done."""
    lines = [
        f"POST {site.keys_path} HTTP/1.1",
        *("Host: a", "Content-Length: 2", "Content-Type: application/json", "Connection: close"),
        f"Authorization: Bearer {site.token}",
        f"Idempotency-Key: {key}",
    ]
    async with storing_nothing(site):
        answer = await site.exchange(("\r\n".join(lines) + "\r\n\r\n{}").encode())
    assert answer.split(b" ")[1] == b"400"
    if "\x7f" not in key:  # that is refused where headers are read
        assert answer.endswith(orjson.dumps(BAD_KEY))


@pytest.mark.parametrize("key", ["x", "x" * 255, "!~", '"', 'a"b', "0"])
async def test_any_visible_ascii_is_a_key(site: Site, key: str) -> None:
    """From one character to 255."""
    headers = _once(key)
    first, again = [await site.create({"name": key[:64]}, headers=headers) for _ in range(2)]
    assert (first.status, again.body) == (201, first.body)


@pytest.mark.parametrize("body", [{"name": "x" * 65}, [], {"public": "zz"}, {"rateLimit": None}], ids=repr)
async def test_a_refusal_does_not_use_a_key_up(site: Site, body: Any) -> None:
    """The mended request may have the same."""
    headers = _once()
    assert (await site.create(body, headers=headers)).status == 400
    answer = await site.create({}, headers=headers)
    assert (answer.status, answer.headers.get("Idempotent-Replayed")) == (201, None)


async def test_of_many_at_once_one_is_done_and_the_others_are_told(site: Site) -> None:
    """409 while it is under way, with a time to come again; then they get what it made."""
    before, headers = await stored(site), _once()
    answers = await asyncio.gather(*(site.create({"name": "Once"}, headers=headers) for _ in range(50)))
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.body["id"] for answer in answers if answer.status == 201}) == 1
    waiting = [answer for answer in answers if answer.status == 409]
    assert {answer.headers["Retry-After"] for answer in waiting} <= {"1"}
    assert await stored(site) == with_more_keys(before, 1)
    assert (await site.create({"name": "Once"}, headers=headers)).headers["Idempotent-Replayed"] == "true"


async def test_a_key_is_forgotten_after_a_day(site: Site) -> None:
    """Then it makes another."""
    headers = _once()
    first = await site.create({}, headers=headers)
    await site.postgres.execute(
        "UPDATE idempotency SET created_at = created_at - interval '24 hours' WHERE key = $1",
        headers["Idempotency-Key"],
    )
    second = await site.create({}, headers=headers)
    assert (second.status, second.headers.get("Idempotent-Replayed")) == (201, None)
    assert second.body["id"] != first.body["id"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PROJECTS, {"name": "Once a project"}),
        ("/api/0/organizations/", {"name": "Once an organization"}),
    ],
)
async def test_organizations_and_projects_are_made_once_too(site: Site, path: str, body: Any) -> None:
    """Without a key, the second request gets the error that the slug is taken."""
    headers = _once()
    first, again = [await site.send("POST", path, json=body, headers=headers) for _ in range(2)]
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await site.send("POST", path, json=body)).status == 409


async def test_it_is_harmless_on_changes_and_deletions(site: Site) -> None:
    """These may be sent twice by their nature: the header changes nothing."""
    path = f"{site.keys_path}{(await site.create({})).body['id']}/"
    headers = _once()
    first = await site.send("PUT", path, json={"name": "A"}, headers=headers)
    other = await site.send("PUT", path, json={"name": "B"}, headers=headers)
    assert (first.body["name"], other.body["name"]) == ("A", "B")
    assert (await site.send("DELETE", path, headers=headers)).status == 204


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PROJECTS, {"name": "Raced for a project"}),
        ("/api/0/organizations/", {"name": "Raced for an organization"}),
        ("", {"public": "ab" * 16}),
    ],
    ids=["project", "organization", "own public half"],
)
async def test_a_request_that_a_concurrent_replica_has_executed_returns_its_result(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str, body: Any
) -> None:
    """The other replica committed between the lookup and the write: the value is taken by the same request."""
    headers = _once()
    first = await site.send("POST", path or site.keys_path, json=body, headers=headers)
    looks = 0

    async def look(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return None if looks == 1 else await select_result(*arguments)

    monkeypatch.setattr(idempotency, "select_result", look)
    async with storing_nothing(site):
        again = await site.send("POST", path or site.keys_path, json=body, headers=headers)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert (again.headers["Idempotent-Replayed"], looks) == ("true", 2)
