"""Unknown tokens: how few look-ups they cost, and that they hold up no valid token."""

import asyncio
import secrets
from collections.abc import Callable, Sequence

import pytest

from service.app import Service
from service.domain.errors import TokenInvalidError
from service.domain.scopes import SCOPES
from service.postgres.tokens import FoundToken, select_by_hashes
from service.usecases import tokens as tokens_module
from service.usecases.tokens import Tokens
from tests.http_service import ORGANIZATION, Site

PATH = f"/api/0/organizations/{ORGANIZATION}/"


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
        for part in (tokens._cache, tokens._unknown, tokens._valid_before):
            monkeypatch.setattr(part, "_clock", clock)
        return clock

    return replace


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tokens in each statement that reached Postgres."""
    sizes = list[int]()

    async def select(connection: object, hashes: Sequence[bytes]) -> list[FoundToken]:
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
    known = tokens_module.credential_hash(valid)

    async def select(connection: object, hashes: Sequence[bytes]) -> list[FoundToken]:
        if known not in hashes:
            await proceed.wait()
        return await select_by_hashes(connection, hashes)  # type: ignore[arg-type]  # -- passed on as it came

    monkeypatch.setattr(tokens_module, "select_by_hashes", select)
    flood = [asyncio.create_task(tokens.authenticate(new_unknown())) for _ in range(2500)]
    await asyncio.sleep(0)
    assert (await asyncio.wait_for(tokens.authenticate(valid), 2)).scopes
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
