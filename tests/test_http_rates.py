"""How often a token may ask, what is told of that, and when a token was used."""

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


def told(headers: Mapping[str, str]) -> dict[str, int]:
    """The rate-limit headers, without what their names have in common."""
    return {name: int(headers[f"X-Sentry-Rate-Limit-{name}"]) for name in NAMES}


def caller(token_id: int, limit: int | None) -> Principal:
    """Somebody with this limit."""
    return Principal(token_id, None, None, frozenset(), limit)


@pytest.mark.parametrize("scope", ["project:read", "org:read", "project:admin"])
async def test_every_token_finds_the_service_healthy(site: Site, scope: str) -> None:
    """Clients try theirs here before anything else."""
    for token in (await site.new_token(scope), await site.new_token(scope, organization=ORGANIZATION)):
        answer = await site.send("GET", HEALTH, token=token)
        assert (answer.status, answer.body) == (200, {"problems": [], "healthy": {}})


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
async def test_nobody_else_does(site: Site, token: str | None, method: str, status: int) -> None:
    """A token that is none is told so, as everywhere."""
    answer = await site.send(method, HEALTH, token=token)
    assert (answer.status, answer.headers["Allow"]) == (status, "GET, HEAD, OPTIONS")


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
async def test_every_answer_tells_how_many_requests_are_welcome_at_once(
    site: Site, method: str, path: str, token: str | None, status: int
) -> None:
    """Clients send one at a time until they have read it."""
    answer = await site.send(method, path, token=token)
    assert answer.status == status
    figures = told(answer.headers)
    assert (figures["ConcurrentLimit"], figures["ConcurrentRemaining"]) == (1000, 1000)
    assert figures["Remaining"] == figures["Limit"] > 1000


async def test_a_token_with_a_rate_gets_429_beyond_it_and_is_let_in_again_in_the_next_second(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the contract's words; nobody else is held up, and nothing is stored."""
    now = 1000.25
    monkeypatch.setattr(site.server.rate_limiter, "_clock", lambda: now)
    token = await site.service.use_cases.tokens.create("slow", scopes=["project:write"], rate_limit=2)
    answers = [await site.send("GET", site.keys_path, token=token) for _ in range(2)]
    async with storing_nothing(site):
        refused = await site.send("POST", site.keys_path, token=token, json={})
    assert [answer.status for answer in answers] == [200, 200]
    assert [told(one.headers)["Remaining"] for one in [*answers, refused]] == [1, 0, 0]
    assert {(told(one.headers)["Limit"], told(one.headers)["Reset"]) for one in answers} == {(2, 1001)}
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
def test_in_no_second_more_than_the_limit_pass_and_never_fewer_than_could(
    steps: list[tuple[int, float]], limits: tuple[int | None, int, int]
) -> None:
    """Whoever asks and whenever: each token is counted by itself."""
    now = 0.0
    rates = RateLimiter(10, clock=lambda: now)
    asked: dict[tuple[int, int], int] = {}
    for who, pause in steps:
        now += pause
        at = (who, int(now))
        asked[at] = asked.get(at, 0) + 1
        limit = limits[who]
        if limit is None or asked[at] <= limit:
            rates.count(caller(who, limit))
        else:
            with pytest.raises(HttpError, match=f"Limit is {limit} requests in 1 seconds"):
                rates.count(caller(who, limit))
        lines = rates.header_lines(caller(who, limit), free_slots=-10).splitlines()
        figures = told(dict(line.split(": ") for line in lines))
        assert figures["ConcurrentRemaining"] == 0
        assert figures["Reset"] == int(now) + 1
        if limit is not None:
            assert figures["Remaining"] == max(0, limit - asked[at])


async def test_a_tokens_last_use_is_written_off_the_way_and_at_most_once_a_minute(service: Service) -> None:
    """The first use at once; then not for a minute, however often it is looked up."""
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
    """How many uses waited to be written; they are written."""
    waiting = len(tokens.uses._pending)
    await tokens.uses.write_pending()
    return waiting
