"""`key create`, `list`, `show`, `enable`, `disable`, `rename`, `rotate` and `delete`."""

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


async def test_a_key_can_be_created_with_an_expiry(capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed in UTC."""
    created = await _created(capsys, "--expires", "2030-01-31T13:00:00+01:00", "--name", "Preview")
    assert created["expiresAt"] == "2030-01-31T12:00:00Z"
    assert await run("key", "show", "acme/web", created["id"]) == 0
    assert capsys.readouterr().out.endswith("  active until 2030-01-31T12:00:00Z  no limit  Preview\n")
    assert (await _created(capsys, "--expires", "never"))["expiresAt"] is None


async def test_a_key_can_be_rotated(capsys: pytest.CaptureFixture[str], postgres: Postgres) -> None:
    """As by the API; the command can be repeated with an idempotency key, and not without one."""
    old = await _created(capsys, "--name", "Backend", "--limit", "100/60", "--expires", "2030-01-31T12:00:00Z")
    words = ("key", "rotate", "acme/web", old["id"], "--json", "--overlap", "0", "--expires", "never")
    rotated = []
    for _ in range(2):
        assert await run(*words, "--idempotency-key", "rotation-1") == 0
        rotated.append(json.loads(capsys.readouterr().out))
    assert rotated[0] == rotated[1]
    members = {"name": "Backend", "rateLimit": old["rateLimit"], "isActive": True, "expiresAt": None}
    assert rotated[0].items() >= members.items()
    assert await postgres.fetchval("SELECT is_active FROM project_key WHERE public_key = $1", old["id"]) is False
    assert await run(*words) == 1
    assert f"The key was rotated to {rotated[0]['id']}" in capsys.readouterr().err
    audited = "SELECT count(*) FROM audit_entry WHERE action = 'projectkey.rotate' AND target = $1"
    assert await postgres.fetchval(audited, old["id"]) == 1


async def test_unused_keys_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, postgres: Postgres
) -> None:
    """Keys that are younger than the period may be about to be used; a used hour counts until its end."""
    monkeypatch.setattr(command, "_PAGE_SIZE", 2)
    young, never, long_ago, at_the_edge, now = [(await _created(capsys))["id"] for _ in range(5)]
    await postgres.execute(
        "UPDATE project_key SET created_at = now() - interval '100 days' WHERE public_key <> $1", young
    )
    for key, days in ((long_ago, "91 days"), (at_the_edge, "90 days 30 minutes"), (now, "0")):
        await postgres.execute(
            "INSERT INTO key_last_seen (key_id, hour) "
            "SELECT id, now() - $2::text::interval FROM project_key WHERE public_key = $1",
            key,
            days,
        )
    await _count_usage_since(postgres, "91 days")
    assert await run("key", "list", "acme/web", "--json", "--unused-for", "90d") == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [long_ago, never]


@pytest.mark.parametrize(
    ("since", "lease", "message"),
    [
        pytest.param("89 days 23 hours", "5 s", "counted for 89 days only", id="too short"),
        pytest.param("91 days", "-2 minutes", "no process counts usage now", id="off again"),
        pytest.param(None, None, "no process counts usage now", id="never counted"),
    ],
)
async def test_keys_are_not_called_unused_when_that_is_not_known(
    since: str | None, lease: str | None, message: str, capsys: pytest.CaptureFixture[str], postgres: Postgres
) -> None:
    """Another client may delete the keys that are listed."""
    await _created(capsys)
    await postgres.execute("UPDATE project_key SET created_at = now() - interval '100 days'")
    await _count_usage_since(postgres, since, lease)
    assert await run("key", "list", "acme/web", "--unused-for", "90d") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err


async def _count_usage_since(postgres: Postgres, since: str | None, lease: str | None = "5 s") -> None:
    await postgres.execute(
        "UPDATE usage_reader SET owner = 'reader', lease_until = now() + $2::text::interval, "
        "complete_since = now() - $1::text::interval",
        since,
        lease,
    )


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
        (["create", "acme/web", "--expires", "2030-01-31"], 2, "ISO 8601 time with a time zone"),
        (["create", "acme/web", "--expires", "2020-01-31T12:00:00Z"], 2, "time in the future"),
        (["create", "acme/web", "--expires", "9999-12-31T23:59:59-14:00"], 2, "ISO 8601 time with a time zone"),
        (["rotate", "acme/web", _UNKNOWN], 1, f"the project acme/web has no key {_UNKNOWN}"),
        (["rotate", "acme/web", _UNKNOWN, "--overlap", "-1"], 2, "must be a whole number from 0"),
        (["rotate", "acme/web", _UNKNOWN, "--overlap", "31536001"], 2, "to 31536000"),
        (["list", "acme/web", "--unused-for", "90h"], 2, "must be days"),
        (["list", "acme/web", "--unused-for", "0d"], 2, "must be days"),
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
