"""A token is looked for by its hash, and what the database finds is compared in constant time before it counts."""

import hashlib
import hmac
from collections.abc import Sequence

import pytest

from service.app import Service
from service.domain.errors import TokenInvalidError
from service.domain.scopes import SCOPES
from service.postgres.tokens import TokenRow, select_by_hashes
from service.usecases import tokens


async def test_the_database_hears_hashes_alone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its index's timing tells is of a hash, from which nobody gets nearer to a token."""
    asked: list[bytes] = []

    async def listen(connection: object, hashes: Sequence[bytes]) -> list[tuple[bytes, TokenRow]]:
        asked.extend(hashes)
        return await select_by_hashes(connection, hashes)  # type: ignore[arg-type]  # -- passed on as it came

    monkeypatch.setattr(tokens, "select_by_hashes", listen)
    token = await service.api.tokens.create("test", scopes=SCOPES)
    assert (await service.api.tokens.caller(token)).scopes
    with pytest.raises(TokenInvalidError):
        await service.api.tokens.caller(f"{token[:-1]}!")
    assert asked == [hashlib.sha256(one.encode()).digest() for one in (token, f"{token[:-1]}!")]


async def test_a_row_that_is_not_the_tokens_own_opens_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever made the database find it; each comparison is one of constant time."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(stored: bytes, asked: bytes) -> bool:
        compared.append((stored, asked))
        return hmac.compare_digest(stored, asked)

    class Watched:
        compare_digest = staticmethod(compare)

    token = await service.api.tokens.create("test", scopes=SCOPES)
    own = hashlib.sha256(token.encode()).digest()

    async def find_another(connection: object, hashes: Sequence[bytes]) -> list[tuple[bytes, TokenRow]]:
        del hashes
        return await select_by_hashes(connection, [own])  # type: ignore[arg-type]  # -- passed on as it came

    monkeypatch.setattr(tokens, "select_by_hashes", find_another)
    monkeypatch.setattr(tokens, "hmac", Watched)
    guess = "sntryu_" + "0" * 64
    with pytest.raises(TokenInvalidError):
        await service.api.tokens.caller(guess)
    assert compared == [(own, hashlib.sha256(guess.encode()).digest())]
