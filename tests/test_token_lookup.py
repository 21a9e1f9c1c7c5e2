"""Tokens are looked up by their hashes, and the rows that are found are compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence

import pytest

from service.app import Service
from service.domain.errors import TokenInvalidError
from service.domain.scopes import SCOPES
from service.postgres.tokens import FoundToken, select_by_hashes
from service.usecases import tokens


async def test_the_database_receives_only_hashes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timing of its index depends on the hash, which reveals nothing about the token."""
    received: list[bytes] = []

    async def select(connection: object, hashes: Sequence[bytes]) -> list[FoundToken]:
        received.extend(hashes)
        return await select_by_hashes(connection, hashes)  # type: ignore[arg-type]  # -- passed on unchanged

    monkeypatch.setattr(tokens, "select_by_hashes", select)
    token = await service.use_cases.tokens.create("test", scopes=SCOPES)
    assert (await service.use_cases.tokens.authenticate(token)).scopes
    with pytest.raises(TokenInvalidError):
        await service.use_cases.tokens.authenticate(f"{token[:-1]}!")
    assert received == [hashlib.sha256(text.encode()).digest() for text in (token, f"{token[:-1]}!")]


async def test_a_row_with_another_hash_authenticates_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every comparison takes constant time."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(stored: bytes, presented: bytes) -> bool:
        compared.append((stored, presented))
        return hmac.compare_digest(stored, presented)

    class Watched:
        compare_digest = staticmethod(compare)

    token = await service.use_cases.tokens.create("test", scopes=SCOPES)
    own = hashlib.sha256(token.encode()).digest()

    async def find_another(connection: object, hashes: Sequence[bytes]) -> list[FoundToken]:
        del hashes
        return await select_by_hashes(connection, [own])  # type: ignore[arg-type]  # -- passed on unchanged

    monkeypatch.setattr(tokens, "select_by_hashes", find_another)
    monkeypatch.setattr(tokens, "hmac", Watched)
    guess = "sntryu_" + "0" * 64
    with pytest.raises(TokenInvalidError):
        await service.use_cases.tokens.authenticate(guess)
    assert compared == [(own, hashlib.sha256(guess.encode()).digest())]
