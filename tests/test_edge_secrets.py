"""Secrets of the edge that change while it runs."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from service.edge import rotating_secrets
from service.edge.lookups import EdgeToken
from service.edge.registrations import ChallengeError, Challenges
from service.edge.rotating_secrets import RotatingSecret, watch
from service.settings import EdgeProcessSettings
from testkit.polling import poll_until


def test_the_previous_value_is_accepted_for_five_minutes() -> None:
    """Only the previous one; an empty value, of a file that is being written, changes nothing."""
    now = [0.0]
    secret = RotatingSecret("first", clock=lambda: now[0])
    for value in ("", "first"):
        secret.replace(value)
        assert list(secret.accepted) == [b"first"]
    secret.replace("second")
    assert list(secret.accepted) == [b"second", b"first"]
    now[0] = 299.0
    secret.replace("third")
    assert list(secret.accepted) == [b"third", b"second"]
    now[0] += 301.0
    assert list(secret.accepted) == [b"third"]


def test_a_token_that_is_set_later_accepts_no_empty_one() -> None:
    """Though there was none before."""
    secret = RotatingSecret("")
    token = EdgeToken(secret)
    assert not token
    secret.replace("token")
    assert token
    for sent, is_accepted in ((None, False), ("", False), ("token", True)):
        headers = {} if sent is None else {"X-Edge-Token": sent}
        assert token.is_in(make_mocked_request("GET", "/auth", headers=headers)) is is_accepted


def test_a_registration_can_be_completed_after_the_secret_changed() -> None:
    """Also by a replica that has the new secret already."""
    secret = RotatingSecret("first")
    challenges = Challenges(secret)
    token = challenges.issue("relay", "key")
    secret.replace("second")
    assert challenges.check(token, "relay") == "key"
    assert challenges.check(challenges.issue("relay", "key"), "relay") == "key"
    with pytest.raises(ChallengeError):
        Challenges(RotatingSecret("second")).check(token, "relay")


async def test_a_changed_file_replaces_the_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that cannot be read is logged and changes nothing."""
    monkeypatch.setattr(rotating_secrets, "_CHECK_INTERVAL", 0.001)
    file = tmp_path / "token"
    monkeypatch.setenv("EDGE_TOKEN_FILE", str(file))
    first, second, third = ("1" * 32, "2" * 32, "3" * 32)
    secret = RotatingSecret(first)
    settings = replace(EdgeProcessSettings(), edge_token=first)
    task = asyncio.create_task(watch(settings, {"edge_token": secret}))
    file.write_text(f"{second}\n")
    await poll_until(lambda: _is(secret, second))
    file.unlink()
    await asyncio.sleep(0.01)
    file.write_text(third)
    await poll_until(lambda: _is(secret, third))
    task.cancel()


async def _is(secret: RotatingSecret, value: str) -> bool:
    return secret.current == value.encode()
