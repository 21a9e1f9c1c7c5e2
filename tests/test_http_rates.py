"""The rate limit of a token, the headers that report it, and when a token was last used."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.app import Service
from service.domain.model import Principal
from service.http.errors import HttpError
from service.http.server.rate_limit import RateLimiter
from service.usecases.tokens import Tokens
from tests.http_service import ORGANIZATION, Site, storing_nothing

NAMES = ["Limit", "Remaining", "Reset", "ConcurrentLimit", "ConcurrentRemaining"]
HEALTH = "/api/0/internal/health/"


def limits_of(headers: Mapping[str, str]) -> dict[str, int]:
    """Return the rate-limit headers without the common prefix of their names."""
    return {name: int(headers[f"X-Sentry-Rate-Limit-{name}"]) for name in NAMES}


def principal(token_id: int, limit: int | None) -> Principal:
    """Return a principal with this limit."""
    return Principal(token_id, None, None, frozenset(), limit)


@pytest.mark.parametrize("scope", ["project:read", "org:read", "project:admin"])
async def test_every_valid_token_gets_the_health_response(site: Site, scope: str) -> None:
    """Clients check their token with it."""
    for token in (await site.new_token(scope), await site.new_token(scope, organization=ORGANIZATION)):
        response = await site.send("GET", HEALTH, token=token)
        assert (response.status, response.body) == (200, {"problems": [], "healthy": {}})


@pytest.mark.parametrize(
    ("token", "method", "status"),
    [
        ("", "GET", 401),
        ("sntryu_x", "GET", 401),
        (None, "POST", 405),
        (None, "HEAD", 200),
        ("", "OPTIONS", 200),
    ],
)
async def test_the_health_response_requires_a_token(site: Site, token: str | None, method: str, status: int) -> None:
    """With the errors of every route."""
    response = await site.send(method, HEALTH, token=token)
    assert (response.status, response.headers["Allow"]) == (status, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("GET", HEALTH, None, 200),
        ("GET", "/api/0/nowhere/", None, 404),
        ("GET", "/api/0/nowhere", None, 404),
        ("GET", HEALTH, "", 401),
        ("PATCH", HEALTH, None, 405),
        ("OPTIONS", HEALTH, "", 200),
    ],
)
async def test_every_response_reports_the_concurrency_limit(
    site: Site, method: str, path: str, token: str | None, status: int
) -> None:
    """Clients send one request at a time until they have read it."""
    response = await site.send(method, path, token=token)
    assert response.status == status
    limits = limits_of(response.headers)
    assert (limits["ConcurrentLimit"], limits["ConcurrentRemaining"]) == (1000, 1000)
    assert limits["Remaining"] == limits["Limit"] > 1000


async def test_a_token_gets_429_beyond_its_rate_limit_until_the_next_second(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Sentry's text; other tokens are not affected, and nothing is stored."""
    now = 1000.25
    monkeypatch.setattr(site.server.rate_limiter, "_clock", lambda: now)
    token = await site.service.use_cases.tokens.create("slow", scopes=["project:write"], rate_limit=2)
    responses = [await site.send("GET", site.keys_path, token=token) for _ in range(2)]
    async with storing_nothing(site):
        refused = await site.send("POST", site.keys_path, token=token, json={})
    assert [response.status for response in responses] == [200, 200]
    assert [limits_of(response.headers)["Remaining"] for response in [*responses, refused]] == [1, 0, 0]
    assert {(limits_of(r.headers)["Limit"], limits_of(r.headers)["Reset"]) for r in responses} == {(2, 1001)}
    detail = "You are attempting to use this endpoint too frequently. Limit is 2 requests in 1 seconds"
    assert (refused.status, refused.body) == (429, {"detail": detail})
    assert refused.headers["Retry-After"] == "1"
    assert (await site.send("GET", site.keys_path)).status == 200
    now = 1001.0
    assert (await site.send("GET", site.keys_path, token=token)).status == 200


@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1.5)), max_size=60),
    limits=st.tuples(st.none() | st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
)
def test_exactly_the_limit_passes_in_each_second(
    steps: list[tuple[int, float]], limits: tuple[int | None, int, int]
) -> None:
    """For any sequence of requests; each token is counted separately."""
    now = 0.0
    limiter = RateLimiter(10, clock=lambda: now)
    sent: dict[tuple[int, int], int] = {}
    for token, pause in steps:
        now += pause
        key = (token, int(now))
        sent[key] = sent.get(key, 0) + 1
        limit = limits[token]
        if limit is None or sent[key] <= limit:
            limiter.count(principal(token, limit))
        else:
            with pytest.raises(HttpError, match=f"Limit is {limit} requests in 1 seconds"):
                limiter.count(principal(token, limit))
        lines = limiter.header_lines(principal(token, limit), free_slots=-10).splitlines()
        reported = limits_of(dict(line.split(": ") for line in lines))
        assert reported["ConcurrentRemaining"] == 0
        assert reported["Reset"] == int(now) + 1
        if limit is not None:
            assert reported["Remaining"] == max(0, limit - sent[key])


async def test_the_last_use_of_a_token_is_written_at_most_once_a_minute(service: Service) -> None:
    """The first use is written in the background; further uses are not written for a minute."""
    now = datetime.now(UTC)
    tokens = Tokens(service.database, clock=lambda: now)
    text = await tokens.create("used", scopes=["project:read"])
    assert [row.last_used_at for row in await tokens.list()] == [None]
    await tokens.authenticate(text)
    assert await _written(tokens) == 1
    [first] = [row.last_used_at for row in await tokens.list()]
    assert first is not None
    tokens._cache.clear()
    now = first + timedelta(seconds=59)
    await tokens.authenticate(text)
    assert await _written(tokens) == 0
    tokens._cache.clear()
    now = first + timedelta(seconds=60)
    await tokens.authenticate(text)
    assert await _written(tokens) == 1


async def _written(tokens: Tokens) -> int:
    """Write the queued uses and return their number."""
    pending = len(tokens.uses._pending)
    await tokens.uses.write_pending()
    return pending
