"""`GET …/keys/{key}/stats/`: the shape and the parameters of Sentry."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.domain.usage import DAY, HOUR, UsageCounter
from service.postgres.usage import add_usage
from service.settings import Settings
from tests.http_service import NOT_FOUND, Response, Site, open_site

_NOON = int(datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp())
_MIDNIGHT = _NOON - DAY // 2
_EMPTY = {"total": 0, "dropped": 0, "accepted": 0, "filtered": 0}


@pytest.fixture
async def path(site: Site) -> str:
    """The path of the statistics of a new key, which has been used on one day."""
    key = (await site.create({})).body["id"]
    row_id = await site.postgres.fetchval("SELECT id FROM project_key WHERE public_key = $1", key)
    quantities: Mapping[tuple[int, int, int], int] = {
        (_NOON, 1, 0): 2,
        (_NOON, 1, 1): 1,
        (_NOON, 1, 2): 5,
        (_NOON, 1, 3): 10,  # invalid
        (_NOON, 1, 5): 20,  # discarded by the client
        (_NOON, 2, 0): 40,  # a transaction
        (_NOON + 2 * HOUR, 1, 0): 3,
        (_MIDNIGHT - HOUR, 1, 0): 7,
    }
    async with site.service.database.transaction() as connection:
        counters = {
            UsageCounter(row_id, category, datetime.fromtimestamp(hour, UTC), outcome): quantity
            for (hour, category, outcome), quantity in quantities.items()
        }
        await add_usage(connection, counters)
    return f"{site.keys_path}{key}/stats/"


async def _stats(site: Site, path: str, **query: object) -> Response:
    return await site.send("GET", path, params={name: str(value) for name, value in query.items()})


async def test_each_hour_has_a_bucket_with_the_errors_by_outcome(site: Site, path: str) -> None:
    """Hours without any are zero; other categories and outcomes are not included."""
    response = await _stats(site, path, since=_NOON + 59, until=_NOON + 2 * HOUR + 0.5, resolution="1h")
    assert response.status == 200
    assert response.body == [
        {"ts": _NOON, "total": 8, "dropped": 5, "accepted": 2, "filtered": 1},
        {"ts": _NOON + HOUR, **_EMPTY},
        {"ts": _NOON + 2 * HOUR, **_EMPTY, "total": 3, "accepted": 3},
    ]
    assert list(response.body[0]) == ["ts", "total", "dropped", "accepted", "filtered"]


async def test_days_begin_at_midnight_in_utc(site: Site, path: str) -> None:
    """A range of a day touches two of them."""
    response = await _stats(site, path, since=_NOON - DAY, until=_NOON, resolution="1d")
    assert response.body == [
        {"ts": _MIDNIGHT - DAY, **_EMPTY, "total": 7, "accepted": 7},
        {"ts": _MIDNIGHT, "total": 11, "dropped": 5, "accepted": 5, "filtered": 1},
    ]
    assert (await _stats(site, path, since=_NOON - DAY, until=_NOON)).body == response.body
    assert (await _stats(site, path, since=_NOON - DAY, until=_NOON, resolution="24h")).body == response.body


async def test_the_default_range_is_the_last_day(site: Site, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until now, and since a second less than a day before; empty parameters are absent ones."""
    monkeypatch.setattr(time, "time", lambda: _NOON + 0.25)
    expected = await _stats(site, path, since=_NOON + 1 - DAY, until=_NOON)
    assert len(expected.body) == 2
    assert (await _stats(site, path)).body == expected.body
    assert (await _stats(site, path, since="", until="", resolution="", stat="received")).body == expected.body


@pytest.mark.parametrize(
    "query",
    [
        *(
            {"resolution": value}
            for value in ("2d", "10s", "h", "1w", "1", "0h", "99999d", "999999d", "\uff11h", "-1h")
        ),
        *(
            {name: value}
            for name in ("since", "until")
            for value in ("x", "nan", "inf", "-inf", "1e400", "-1", "2026-03-04", "253402300800", "9" * 500)
        ),
        {"since": _NOON + 1, "until": _NOON},
        {"since": 0, "until": _NOON, "resolution": "1h"},
    ],
    ids=str,
)
async def test_invalid_parameters_are_refused(site: Site, path: str, query: Mapping[str, object]) -> None:
    """With one message, as in Sentry."""
    response = await _stats(site, path, **query)
    assert (response.status, response.body) == (400, {"detail": "Invalid request data"})


async def test_the_key_is_looked_up_before_the_parameters_are_read(site: Site) -> None:
    """Also that of another project."""
    response = await _stats(site, f"{site.keys_path}{'0' * 32}/stats/", resolution="2d")
    assert (response.status, response.body) == (404, NOT_FOUND)


async def test_a_deleted_key_has_no_statistics(site: Site, path: str) -> None:
    """Its usage is kept, but not shown."""
    await site.send("DELETE", path.removesuffix("stats/"))
    assert (await _stats(site, path)).status == 404


async def test_without_usage_there_are_no_statistics(settings: Settings) -> None:
    """The default."""
    async with open_site(replace(settings, usage=False)) as site:
        key = (await site.create({})).body["id"]
        response = await _stats(site, f"{site.keys_path}{key}/stats/")
    assert (response.status, response.body) == (404, NOT_FOUND)
