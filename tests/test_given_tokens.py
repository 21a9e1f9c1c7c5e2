"""Tokens that somebody brings along: taken from a file or a pipe, strong or refused, never shown."""

import os
import secrets
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from service.app import Service
from service.domain.tokens import PREFIX, new_token, weakness
from tests.commands import run
from tests.conftest import Api
from tests.http_service import ORGANIZATION


@pytest.fixture(autouse=True)
def _here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reads the test's database."""
    monkeypatch.setenv("DATABASE_URL", database_url)


def _file(directory: Path, text: str, mode: int = 0o600) -> str:
    path = directory / "token"
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def _create(*arguments: str) -> int:
    return await run("token", "create", "ci", "--scope", "project:write", *arguments)


async def test_a_token_from_a_file_works_and_is_not_printed(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that two clusters can have the same one; the line end of the file is no part of it."""
    token = secrets.token_hex(32)
    assert await _create("--from-file", _file(tmp_path, f"{token}\n"), "--org", ORGANIZATION) == 0
    told = capsys.readouterr()
    assert told.out == "The token ci is known from now on.\n"
    assert told.err == ""
    assert (await api.create({}, token=token)).status == 201


async def test_a_token_comes_from_standard_input(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a pipe, so that no file holds it."""
    token = new_token()
    reading_end, writing_end = os.pipe()
    os.write(writing_end, f"{token}\n".encode())
    os.close(writing_end)
    with os.fdopen(reading_end) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert await _create("--from-file", "-") == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert token not in told.out
    assert (await api.request("GET", api.keys_path, token=token)).status == 200


@pytest.mark.usefixtures("service")
async def test_a_file_that_everybody_can_read_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token is taken all the same: secrets that Kubernetes mounts look so."""
    path = _file(tmp_path, secrets.token_hex(32), mode=0o644)
    assert await _create("--from-file", path) == 0
    assert f"everybody on this machine can read {path}" in capsys.readouterr().err


async def test_a_token_that_is_there_already_is_refused(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when it was revoked: it may have been revoked because it was seen; no second entry is left."""
    path = _file(tmp_path, secrets.token_hex(32))
    assert await _create("--from-file", path) == 0
    [row] = await service.api.tokens.list()
    await service.api.tokens.revoke(row.id)
    capsys.readouterr()
    assert await _create("--from-file", path) == 1
    assert capsys.readouterr().err == "projectkeys: this token is already in use\n"
    assert len(await service.api.tokens.list()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "holds no token", id="nothing"),
        pytest.param(" \n", "holds no token", id="a blank line"),
        pytest.param(secrets.token_hex(15), "has 32 to 255 characters", id="too short"),
        pytest.param(
            PREFIX + secrets.token_hex(15), "has 32 to 255 characters", id="the prefix is no secret"
        ),
        pytest.param(secrets.token_hex(128), "has 32 to 255 characters", id="too long"),
        pytest.param(f"{secrets.token_hex(16)} {secrets.token_hex(16)}", "has only letters", id="two words"),
        pytest.param(f"{secrets.token_hex(16)}\n{secrets.token_hex(16)}", "has only letters", id="two lines"),
        pytest.param(f"é{secrets.token_hex(16)}", "has only letters", id="no ASCII"),
        pytest.param("ab" * 20, "has 8 different characters", id="two characters"),
        pytest.param("0123456789abcdef" * 2, "is random", id="a pattern twice"),
        pytest.param("k3v9x0q2m7" * 4, "is random", id="a pattern four times"),
        pytest.param("abcdefghijklmnopqrstuvwxyz012345", "is random", id="the alphabet"),
        pytest.param("zyxwvutsrqponmlkjihgfedcba987654", "is random", id="the alphabet backwards"),
        pytest.param(f"ChangeMe-{secrets.token_hex(16)}", "holds no word", id="a word that everybody tries"),
    ],
)
async def test_what_could_be_guessed_or_not_be_sent_is_refused_and_not_repeated(
    service: Service, text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words say what a token is; they never hold a part of this one."""
    assert await _create("--from-file", _file(tmp_path, text)) == 1
    told = capsys.readouterr().err
    assert words in told
    assert len(told.splitlines()) == 1
    assert not text.strip() or text[:12] not in told
    assert await service.api.tokens.list() == []


async def test_random_tokens_are_strong() -> None:
    """Those that are made here and those of the usual tools; a thousand of each."""
    for _ in range(1000):
        for token in (new_token(), secrets.token_hex(16), secrets.token_urlsafe(24), str(uuid4())):
            assert weakness(token) is None, token


async def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its name and the reason."""
    missing = str(tmp_path / "nothing")
    assert await _create("--from-file", missing) == 1
    assert capsys.readouterr().err == f"projectkeys: {missing} cannot be read: No such file or directory\n"
