"""`key create`, `list`, `show`, `enable`, `disable`, `rename` and `delete`."""

import json
from typing import Any

import pytest

from service.cli import keys as command
from tests.commands import run
from tests.outbox import Postgres

_UNKNOWN = "0" * 32


@pytest.fixture(autouse=True)
async def _project(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("INGEST_URL", "https://ingest.example.com")
    assert await run("org", "create", "acme") == 0
    assert await run("project", "create", "acme", "web", "--no-key") == 0


async def _created(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert await run("key", "create", "acme/web", "--json", *arguments) == 0
    created: dict[str, Any] = json.loads(capsys.readouterr().out)
    return created


async def test_a_key_can_be_created_changed_and_deleted(
    capsys: pytest.CaptureFixture[str], postgres: Postgres
) -> None:
    """Each change is audited and has an event, as by the API; nothing prints the secret half."""
    created = await _created(capsys, "--name", "Backend", "--limit", "100/60")
    key = created["id"]
    assert created["rateLimit"] == {"window": 60, "count": 100}
    assert created["dsn"] == f"https://{key}@ingest.example.com/{created['projectId']}"
    for words, expected in (
        (["show", "acme/web", key], "active  100/60  Backend"),
        (["disable", "acme/web", key], "disabled  100/60  Backend"),
        (["rename", "acme/web", key, "Front"], "disabled  100/60  Front"),
        (["enable", "acme/1", key], "active  100/60  Front"),
        (["list", "acme/web"], "active  100/60  Front"),
    ):
        assert await run("key", *words) == 0
        assert capsys.readouterr().out == f"{created['dsn']}  {expected}\n"
    assert await run("key", "delete", "acme/web", key, "--yes") == 0
    assert capsys.readouterr().out == f"Deleted the key {key}.\n"
    actions = [
        row["action"]
        for row in await postgres.fetch("SELECT action FROM audit_entry WHERE target = $1 ORDER BY id", key)
    ]
    assert actions == ["projectkey.create", *["projectkey.edit"] * 3, "projectkey.remove"]
    versions = await postgres.fetch("SELECT version FROM outbox WHERE aggregateid = $1 ORDER BY seq", key)
    assert [row["version"] for row in versions][:5] == [1, 2, 3, 4, 5]


async def test_every_page_of_a_list_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first; control characters of names are escaped."""
    monkeypatch.setattr(command, "_PAGE_SIZE", 2)
    created = [(await _created(capsys))["id"] for _ in range(5)]
    assert await run("key", "list", "acme/web", "--json") == 0
    listed = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    assert listed == created[::-1]


async def test_a_create_can_be_repeated(capsys: pytest.CaptureFixture[str], postgres: Postgres) -> None:
    """With an idempotency key, as long as the arguments are the same."""
    first = await _created(capsys, "--idempotency-key", "deploy-1")
    assert await _created(capsys, "--idempotency-key", "deploy-1") == first
    words = ("key", "create", "acme/web", "--idempotency-key", "deploy-1")
    assert await run(*words, "--name", "Other") == 1
    assert "was used with other arguments" in capsys.readouterr().err
    await run("key", "delete", "acme/web", first["id"], "--yes")
    assert await run(*words) == 1
    assert "is deleted" in capsys.readouterr().err
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 0


async def test_an_expired_key_is_not_enabled(capsys: pytest.CaptureFixture[str], postgres: Postgres) -> None:
    """The message says what to do."""
    key = (await _created(capsys))["id"]
    await postgres.execute("UPDATE project_key SET expires_at = now() - interval '1 day', is_active = false")
    assert await run("key", "enable", "acme/web", key) == 1
    assert "the key has expired: first set another expiresAt" in capsys.readouterr().err
    assert await postgres.fetchval("SELECT is_active FROM project_key") is False


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "acme/web", _UNKNOWN], 1, f"the project acme/web has no key {_UNKNOWN}"),
        (["disable", "acme/web", _UNKNOWN], 1, f"the project acme/web has no key {_UNKNOWN}"),
        (["delete", "acme/web", _UNKNOWN, "--yes"], 1, f"the project acme/web has no key {_UNKNOWN}"),
        (["list", "acme/nothing"], 1, "there is no project nothing in acme"),
        (["create", "none/web"], 1, "there is no project web in none"),
        (["create", "web"], 2, "must be an organization and a project"),
        (["show", "acme/web", "X" * 32], 2, "must be a public key"),
        (["delete", "acme/web", _UNKNOWN], 2, "--yes"),
        (["create", "acme/web", "--limit", "100"], 2, "must be events and seconds"),
        (["create", "acme/web", "--limit", "1/86401"], 2, "must be events and seconds"),
        (["create", "acme/web", "--limit", "2147483648/1"], 2, "must be events and seconds"),
        (["create", "acme/web", "--name", "x" * 65], 2, "must be 1 to 64 printable characters"),
        (["create", "acme/web", "--idempotency-key", "a b"], 2, "visible ASCII characters"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
async def test_wrong_arguments_change_nothing(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], postgres: Postgres
) -> None:
    """With a message that names the argument."""
    assert await run("key", *words) == code
    assert message in capsys.readouterr().err
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 0
