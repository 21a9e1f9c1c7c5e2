"""Unknown tokens: how few look-ups they cost, and that they hold up no valid token."""

import asyncio
import secrets
from collections.abc import Callable, Sequence

import pytest

from service.app import Service
from service.domain.errors import TokenInvalidError, TooManyUnknownTokensError
from service.domain.scopes import SCOPES
from service.postgres.tokens import TokenRow, select_by_hashes
from service.usecases import tokens as tokens_module
from service.usecases.failed_lookups import FailedLookups
from service.usecases.tokens import Tokens
from tests.http_service import ORGANIZATION, Site

LIMIT = 100
PATH = f"/api/0/organizations/{ORGANIZATION}/"
TOO_MANY = {"detail": "Too many unknown tokens from this address. Try again."}


def new_unknown() -> str:
    """A token that no database has."""
    return f"sntryu_{secrets.token_hex(32)}"


class Clock:
    """Seconds that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tokens], Clock]:
    """Replaces the clock of every cache and limit of the tokens."""

    def replace(tokens: Tokens) -> Clock:
        clock = Clock()
        for part in (tokens._cache, tokens._unknown, tokens._valid_before, tokens._failed):
            monkeypatch.setattr(part, "_clock", clock)
        return clock

    return replace


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tokens in each statement that reached Postgres."""
    sizes = list[int]()

    async def select(connection: object, hashes: Sequence[bytes]) -> list[tuple[bytes, TokenRow]]:
        sizes.append(len(hashes))
        return await select_by_hashes(connection, hashes)  # type: ignore[arg-type]  # -- passed on as it came

    monkeypatch.setattr(tokens_module, "select_by_hashes", select)
    return sizes


async def test_an_unknown_token_is_looked_up_once_in_five_seconds(
    site: Site, statements: list[int], clock: Callable[[Tokens], Clock]
) -> None:
    """However often it is presented; each response is the same 401."""
    time, unknown = clock(site.service.use_cases.tokens), new_unknown()
    for _ in range(20):
        answer = await site.send("GET", PATH, token=unknown)
        assert (answer.status, answer.body) == (401, {"detail": "Invalid token"})
    assert statements == [1]
    time.now += 5
    assert (await site.send("GET", PATH, token=unknown)).status == 401
    assert statements == [1, 1]


async def test_different_unknown_tokens_of_one_address_are_looked_up_only_up_to_the_limit(
    site: Site, statements: list[int], clock: Callable[[Tokens], Clock]
) -> None:
    """Further ones get 429 without a look-up; a known unknown one still gets 401; the next second starts from 0."""
    time, first = clock(site.service.use_cases.tokens), new_unknown()
    answers = [await site.send("GET", PATH, token=first)]
    answers += [await site.send("GET", PATH, token=new_unknown()) for _ in range(LIMIT + 20)]
    assert [answer.status for answer in answers] == [401] * LIMIT + [429] * 21
    assert (answers[-1].body, answers[-1].headers["Retry-After"]) == (TOO_MANY, "1")
    assert sum(statements) == LIMIT
    assert (await site.send("GET", PATH, token=first)).status == 401
    time.now += 1
    assert (await site.send("GET", PATH, token=new_unknown())).status == 401
    assert sum(statements) == LIMIT + 1


async def test_a_valid_token_is_served_while_its_address_is_at_the_limit(
    site: Site, statements: list[int], clock: Callable[[Tokens], Clock]
) -> None:
    """From the cache and, when that has expired, by a look-up that has no limit."""
    time = clock(site.service.use_cases.tokens)
    assert (await site.send("GET", PATH)).status == 200
    for _ in range(LIMIT):
        await site.send("GET", PATH, token=new_unknown())
    before = sum(statements)
    assert (await site.send("GET", PATH)).status == 200
    assert sum(statements) == before
    time.now += 6
    for _ in range(LIMIT):
        await site.send("GET", PATH, token=new_unknown())
    assert (await site.send("GET", PATH, token=new_unknown())).status == 429
    assert (await site.send("GET", PATH)).status == 200


async def test_more_unknown_tokens_than_the_cache_holds_evict_no_valid_one(
    service: Service, statements: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two caches are separate, and both have a limit."""
    tokens = service.use_cases.tokens
    monkeypatch.setattr(tokens._unknown, "_max_size", 10)
    valid = await tokens.create("test", scopes=SCOPES)
    await tokens.authenticate(valid)
    for _ in range(50):
        with pytest.raises(TokenInvalidError):
            await tokens.authenticate(new_unknown())
    assert len(tokens._unknown._values) == 10
    before = len(statements)
    assert (await tokens.authenticate(valid)).scopes
    assert len(statements) == before


async def test_the_look_up_of_a_token_that_was_valid_before_does_not_wait_for_those_of_unknown_tokens(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when more of them wait than can wait, from any number of addresses."""
    tokens, proceed = service.use_cases.tokens, asyncio.Event()
    valid = await tokens.create("test", scopes=SCOPES)
    await tokens.authenticate(valid)
    tokens._cache.clear()
    known = tokens_module._hash(valid)

    async def select(connection: object, hashes: Sequence[bytes]) -> list[tuple[bytes, TokenRow]]:
        if known not in hashes:
            await proceed.wait()
        return await select_by_hashes(connection, hashes)  # type: ignore[arg-type]  # -- passed on as it came

    monkeypatch.setattr(tokens_module, "select_by_hashes", select)
    flood = [
        asyncio.create_task(tokens.authenticate(new_unknown(), address=f"10.0.{number >> 8}.{number & 255}"))
        for number in range(2500)
    ]
    await asyncio.sleep(0)
    assert (await asyncio.wait_for(tokens.authenticate(valid, address="10.0.0.1"), 2)).scopes
    proceed.set()
    results = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(result).__name__ for result in results} == {"TokenInvalidError", "BusyError"}


async def test_a_token_that_was_presented_before_it_was_created_is_valid_after_five_seconds(
    service: Service, clock: Callable[[Tokens], Clock]
) -> None:
    """Only a token that an operator brings along can have been presented before."""
    tokens = service.use_cases.tokens
    time, brought = clock(tokens), secrets.token_hex(32)
    with pytest.raises(TokenInvalidError):
        await tokens.authenticate(brought)
    await tokens.create("brought", scopes=SCOPES, token=brought)
    time.now += 4.9
    with pytest.raises(TokenInvalidError):
        await tokens.authenticate(brought)
    time.now += 0.1
    assert (await tokens.authenticate(brought)).scopes


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"),
        ("fe80::1%eth0", "fe80::2%eth0", "2001:db8::1"),
    ],
)
def test_the_limit_is_that_of_an_ipv4_address_or_of_an_ipv6_network(
    address: str, same: str, other: str
) -> None:
    """A client can use every address of its IPv6 network."""
    failed = FailedLookups(limit=2, addresses=10, clock=Clock())
    for _ in range(2):
        failed.check(same)
        failed.count(address)
    with pytest.raises(TooManyUnknownTokensError):
        failed.check(same)
    failed.check(other)
    failed.check(None)


def test_the_counts_of_addresses_have_a_limit() -> None:
    """Beyond it they start from 0: what remains then is the limit of look-ups that wait."""
    failed = FailedLookups(limit=1, addresses=10, clock=Clock())
    for number in range(1000):
        failed.count(f"192.0.2.{number}")
        assert len(failed._counts) <= 10
