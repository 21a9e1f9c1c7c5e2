"""`token create --from-file`: tokens that were generated elsewhere."""

import os
import secrets
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from service.app import Service
from service.domain.tokens import PREFIX, new_token, violated_rule
from tests.commands import run
from tests.conftest import Api
from tests.http_service import ORGANIZATION


@pytest.fixture(autouse=True)
def _here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the database of the command."""
    monkeypatch.setenv("DATABASE_URL", database_url)


def _file(directory: Path, text: str, mode: int = 0o600) -> str:
    path = directory / "token"
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def _create(*arguments: str) -> int:
    return await run("token", "create", "ci", "--scope", "project:write", *arguments)


async def test_a_token_from_a_file_is_valid_and_is_not_printed(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that two clusters can have the same token; the trailing newline of the file is ignored."""
    token = secrets.token_hex(32)
    assert await _create("--from-file", _file(tmp_path, f"{token}\n"), "--org", ORGANIZATION) == 0
    output = capsys.readouterr()
    assert output.out == "Created the token ci.\n"
    assert output.err == ""
    assert (await api.create({}, token=token)).status == 201


async def test_a_token_is_read_from_standard_input(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a pipe, so that it is in no file."""
    token = new_token()
    reading_end, writing_end = os.pipe()
    os.write(writing_end, f"{token}\n".encode())
    os.close(writing_end)
    with os.fdopen(reading_end) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert await _create("--from-file", "-") == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert token not in output.out
    assert (await api.request("GET", api.keys_path, token=token)).status == 200


@pytest.mark.usefixtures("service")
async def test_a_file_that_all_users_can_read_causes_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token is accepted: Secrets that Kubernetes mounts have this mode."""
    path = _file(tmp_path, secrets.token_hex(32), mode=0o644)
    assert await _create("--from-file", path) == 0
    assert f"all users of this machine can read {path}" in capsys.readouterr().err


async def test_a_token_that_exists_is_rejected(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if it is revoked, perhaps because it was leaked; no second row is inserted."""
    path = _file(tmp_path, secrets.token_hex(32))
    assert await _create("--from-file", path) == 0
    [row] = await service.use_cases.tokens.list()
    await service.use_cases.tokens.revoke(row.id)
    capsys.readouterr()
    assert await _create("--from-file", path) == 1
    assert capsys.readouterr().err == "projectkeys: this token is already in use\n"
    assert len(await service.use_cases.tokens.list()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "contains no token", id="empty"),
        pytest.param(" \n", "contains no token", id="a blank line"),
        pytest.param(secrets.token_hex(15), "must have 32 to 255 characters", id="too short"),
        pytest.param(PREFIX + secrets.token_hex(15), "must have 32 to 255 characters", id="the prefix is no secret"),
        pytest.param(secrets.token_hex(128), "must have 32 to 255 characters", id="too long"),
        pytest.param(f"{secrets.token_hex(16)} {secrets.token_hex(16)}", "must have only letters", id="two words"),
        pytest.param(f"{secrets.token_hex(16)}\n{secrets.token_hex(16)}", "must have only letters", id="two lines"),
        pytest.param(f"é{secrets.token_hex(16)}", "must have only letters", id="no ASCII"),
        pytest.param("ab" * 20, "must have 8 different characters", id="two characters"),
        pytest.param("0123456789abcdef" * 2, "must be random", id="a pattern twice"),
        pytest.param("k3v9x0q2m7" * 4, "must be random", id="a pattern four times"),
        pytest.param("abcdefghijklmnopqrstuvwxyz012345", "must be random", id="the alphabet"),
        pytest.param("zyxwvutsrqponmlkjihgfedcba987654", "must be random", id="the alphabet backwards"),
        pytest.param(f"ChangeMe-{secrets.token_hex(16)}", "must not contain a common word", id="a common word"),
    ],
)
async def test_a_weak_or_malformed_token_is_rejected_and_not_printed(
    service: Service, text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message is the violated rule; it contains no part of the token."""
    assert await _create("--from-file", _file(tmp_path, text)) == 1
    message = capsys.readouterr().err
    assert words in message
    assert len(message.splitlines()) == 1
    assert not text.strip() or text[:12] not in message
    assert await service.use_cases.tokens.list() == []


async def test_random_tokens_are_accepted() -> None:
    """Those that the service generates, and those of common tools; a thousand of each."""
    for _ in range(1000):
        for token in (new_token(), secrets.token_hex(16), secrets.token_urlsafe(24), str(uuid4())):
            assert violated_rule(token) is None, token


async def test_a_missing_file_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its path and the reason."""
    missing = str(tmp_path / "nothing")
    assert await _create("--from-file", missing) == 1
    assert capsys.readouterr().err == f"projectkeys: {missing} cannot be read: No such file or directory\n"
