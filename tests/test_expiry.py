"""The expiry of keys over HTTP: setting, changing and removing it, its errors, and keys that have expired."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from service.concurrency import database_clock
from service.concurrency.database_clock import DatabaseClock
from service.domain.events import time_to_json
from tests.http_service import Site, storing_nothing

INVALID = "Enter an ISO 8601 time with a time zone, such as 2030-01-31T12:00:00Z."
PAST = "Enter a time in the future."
FAR = "Enter a time within the next 10 years."
EXPIRED = {"isActive": ["The key has expired. Also set expiresAt to a later time or to null."]}


def in_time(**duration: float) -> str:
    """Return the time after this duration, as responses contain it."""
    return time_to_json(datetime.now(UTC) + timedelta(**duration))


async def _new_key(site: Site, **body: Any) -> tuple[str, dict[str, Any]]:
    response = await site.create(body)
    assert response.status == 201, response.body
    return f"{site.keys_path}{response.body['id']}/", response.body


async def _states(site: Site, key: str) -> list[dict[str, Any]]:
    rows = await site.postgres.fetch("SELECT payload FROM outbox WHERE aggregateid = $1 ORDER BY seq", key)
    return [orjson.loads(row["payload"]) for row in rows]


async def test_a_key_has_an_expiry_only_while_one_is_set(site: Site) -> None:
    """The key object then has one more member, in every response; the state of an event always has it."""
    first, second = in_time(days=30), in_time(days=3650)
    path, created = await _new_key(site, name="CI", expiresAt=first)
    assert list(created)[-1] == "expiresAt"
    assert (await site.send("GET", path)).body == created
    assert created in (await site.send("GET", site.keys_path)).body
    renamed = (await site.send("PUT", path, json={"name": "CI 2"})).body
    moved = (await site.send("PUT", path, json={"expiresAt": second})).body
    removed = (await site.send("PUT", path, json={"expiresAt": None})).body
    assert [key.get("expiresAt") for key in (created, renamed, moved)] == [first, first, second]
    assert len(removed) == 13
    assert "expiresAt" not in removed
    states = await _states(site, created["id"])
    assert [state["expiresAt"] for state in states] == [first, first, second, None]
    audit = await site.postgres.fetch("SELECT data FROM audit_entry WHERE target = $1 ORDER BY id", created["id"])
    assert orjson.loads(audit[0]["data"]) == {"name": "CI", "rateLimit": None, "expiresAt": first}
    assert [orjson.loads(row["data"]).get("expiresAt") for row in audit[1:]] == [
        None,
        {"from": first, "to": second},
        {"from": second, "to": None},
    ]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00Z"),
        ("2030-01-31t12:00:00z", "2030-01-31T12:00:00Z"),
        ("2030-01-31 12:00:00+02:00", "2030-01-31T10:00:00Z"),
        ("2030-01-31T12:00-0530", "2030-01-31T17:30:00Z"),
        ("2030-01-31T12:00:00.5+00", "2030-01-31T12:00:00.500000Z"),
        ("2030-01-31T12:00:00,123456789Z", "2030-01-31T12:00:00.123456Z"),
        ("2030-01-01T00:00:00+14:00", "2029-12-31T10:00:00Z"),
    ],
)
async def test_a_time_has_any_zone_and_is_returned_in_utc(site: Site, text: str, stored: str) -> None:
    """Microseconds are kept, finer fractions are cut off; a read returns what the write returned."""
    path, created = await _new_key(site, expiresAt=text)
    assert created["expiresAt"] == stored
    assert (await site.send("GET", path)).body == created


_MALFORMED: list[Any] = [
    *("", " ", "tomorrow", "2030-01-31", "2030-01-31T12:00:00", "2030-01-31Z", "12:00:00Z", "Infinity", "now"),
    *("2030-13-31T12:00:00Z", "2030-02-30T12:00:00Z", "2030-01-31T24:00:01Z", "2030-01-31T12:00:60Z"),
    *("2030-01-31T12:00:00+25:00", "2030-01-31T12:00:00 Z", " 2030-01-31T12:00:00Z", "20300131T120000Z"),
    *("2030-W01-1T12:00:00Z", "2030-01-31x12:00:00Z", "0001-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59-23:59", "+2030-01-31T12:00:00Z", "10000-01-01T00:00:00Z", "9" * 60_000),
    *("\uff12030-01-31T12:00:00Z", "2030-01-31T12:00:00Z\x00", "2030-01-31T12:00:00\ud800Z"),
    *(1893456000, 1893456000.5, True, False, [], {}, ["2030-01-31T12:00:00Z"], 10**400),
]  # fmt: skip
_PAST = ["2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", in_time(seconds=-60)]
_FAR = ["9999-12-31T23:59:59Z", "9999-12-31T00:00:00+12:00", in_time(days=3660)]
ERRORS: list[tuple[Any, str]] = [
    *((value, INVALID) for value in _MALFORMED),
    *((value, PAST) for value in _PAST),
    *((value, FAR) for value in _FAR),
]


@pytest.mark.parametrize(("value", "message"), ERRORS, ids=map(str, range(len(ERRORS))))  # some are times from now on
async def test_an_unsuitable_time_is_an_error_of_its_field_and_changes_nothing(
    site: Site, value: Any, message: str
) -> None:
    """With the errors of the other fields, for a new key and for a change."""
    path, before = await _new_key(site)
    expected = {"name": ["Not a valid string."], "expiresAt": [message]}
    async with storing_nothing(site):
        body = {"name": [], "expiresAt": value}
        for response in (await site.create(body), await site.send("PUT", path, json=body)):
            assert (response.status, response.body) == (400, expected)
    assert (await site.send("GET", path)).body == before


async def _expire(site: Site, key: str) -> None:
    """Move the expiry of a key into the past, and disable it."""
    await site.postgres.execute(
        "UPDATE project_key SET expires_at = now() - interval '1 s' WHERE public_key = $1", key
    )
    while await site.service.expiry.step():
        pass


async def test_an_expired_key_is_enabled_only_with_another_expiry(site: Site) -> None:
    """Other changes are possible; the expiry alone does not enable the key."""
    path, created = await _new_key(site, expiresAt=in_time(days=1))
    await _expire(site, created["id"])
    assert (await site.send("GET", path)).body["isActive"] is False
    async with storing_nothing(site):
        for body in ({"isActive": True}, {"isActive": "yes", "name": "x"}):
            response = await site.send("PUT", path, json=body)
            assert (response.status, response.body) == (400, EXPIRED)
    assert (await site.send("PUT", path, json={"name": "Old", "isActive": False})).body["name"] == "Old"
    moved = (await site.send("PUT", path, json={"expiresAt": in_time(days=1)})).body
    assert moved["isActive"] is False
    assert (await site.send("PUT", path, json={"isActive": True})).body["isActive"] is True
    await _expire(site, created["id"])
    removed = (await site.send("PUT", path, json={"isActive": True, "expiresAt": None})).body
    assert (removed["isActive"], "expiresAt" in removed) == (True, False)


async def test_an_expired_key_that_is_not_disabled_yet_is_treated_alike(site: Site) -> None:
    """Whether the task that disables it or the change comes first."""
    path, created = await _new_key(site, expiresAt=in_time(days=1))
    await site.postgres.execute(
        "UPDATE project_key SET expires_at = now() - interval '1 s' WHERE public_key = $1", created["id"]
    )
    assert (await site.send("PUT", path, json={"isActive": True})).body == EXPIRED


def test_the_clock_of_the_process_does_not_matter_once_that_of_the_database_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It continues by the time that has passed; before the first reading there is only the former."""
    own, theirs = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    monkeypatch.setattr(database_clock, "utc_now", lambda: own)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    clock = DatabaseClock()
    assert clock.now() == own
    clock.set(theirs)
    monkeypatch.setattr("time.monotonic", lambda: 103.5)
    assert clock.now() == theirs + timedelta(seconds=3.5)
