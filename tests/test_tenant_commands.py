"""`org create`, `org list`, `project create` and `project list`."""

import json
from typing import Any

import pytest

from tests.commands import run
from tests.outbox import Postgres

_VALID_URLS = ["https://ingest.example.com", "http://127.0.0.1:9000/base"]
_INVALID_URLS = [
    "ingest.example.com",
    "ftp://ingest.example.com",
    "https://ingest.example.com/",
    "https://user:password@ingest.example.com",
    "https://ingest.example.com?a=b",
    "https://ingest.example.com:99999",
    "https://ingest.example.com\nX: y",
    "https://" + "x" * 200,
    "https://ingest.example.com:0",
    "https://..",
    "",
]


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)


@pytest.mark.parametrize("url", _VALID_URLS)
async def test_an_organization_can_have_its_own_base_url_of_dsns(url: str, postgres: Postgres) -> None:
    """It is stored unchanged."""
    assert await run("org", "create", "acme", "--ingest-url", url) == 0
    assert await postgres.fetchval("SELECT ingest_url FROM organization") == url


@pytest.mark.parametrize("url", _INVALID_URLS)
async def test_an_invalid_base_url_is_rejected(
    url: str, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise every DSN of the organization would be invalid."""
    assert await run("org", "create", "acme", "--ingest-url", url) == 2
    assert "without a trailing slash" in capsys.readouterr().err
    assert await postgres.fetchval("SELECT count(*) FROM organization") == 0


@pytest.mark.parametrize(
    "kafka",
    [
        pytest.param({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CAFILE": "/missing"}, id="missing file"),
        pytest.param({"KAFKA_SECURITY_PROTOCOL": "TLS"}, id="invalid setting"),
    ],
)
async def test_commands_that_use_postgres_alone_ignore_the_kafka_settings(
    kafka: dict[str, str], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job in a cluster needs neither the certificates nor the credentials of Kafka."""
    for name, value in kafka.items():
        monkeypatch.setenv(name, value)
    for arguments in (
        ["migrate", "--check"],
        ["org", "create", "acme"],
        ["project", "create", "acme", "web"],
        ["token", "create", "ci", "--scope", "org:read"],
        ["token", "list"],
        ["audit", "list"],
        ["events", "parked", "list"],
        ["events", "replay", "--list"],
    ):
        assert await run(*arguments) == 0, arguments
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 1
    assert await run("events", "reconcile") == 78


async def test_a_new_project_is_printed_with_the_dsn_of_its_key(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that an application can be configured at once."""
    monkeypatch.setenv("INGEST_URL", "https://ingest.example.com")
    assert await run("org", "create", "acme", "--name", "Acme, Inc.", "--json") == 0
    acme = {"id": "1", "slug": "acme", "name": "Acme, Inc.", "ingestUrl": None}
    assert json.loads(capsys.readouterr().out) == acme
    assert await run("project", "create", "acme", "web") == 0
    key = await postgres.fetchval("SELECT public_key FROM project_key")
    dsn = f"https://{key}@ingest.example.com/1"
    assert capsys.readouterr().out == f"Created the project web with the id 1.\n{dsn}\n"
    assert await run("project", "create", "acme", "api", "--no-key", "--json") == 0
    api = {"id": "2", "slug": "api", "name": "api", "organization": "acme"}
    assert json.loads(capsys.readouterr().out) == {**api, "dsn": None}


async def test_organizations_and_projects_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Of one organization or of all."""
    for words in (
        ("org", "create", "acme"),
        ("org", "create", "umbrella"),
        ("project", "create", "umbrella", "web"),
    ):
        assert await run(*words) == 0
    capsys.readouterr()
    expected: list[tuple[list[str], str]] = [
        (["org", "list"], "1  acme  acme\n2  umbrella  umbrella\n"),
        (["project", "list"], "1  umbrella/web  web\n"),
        (["project", "list", "umbrella"], "1  umbrella/web  web\n"),
        (["project", "list", "acme"], ""),
    ]
    for arguments, output in expected:
        assert await run(*arguments) == 0
        assert capsys.readouterr().out == output
    assert await run("project", "list", "umbrella", "--json") == 0
    assert json.loads(capsys.readouterr().out)["organization"] == "umbrella"
    assert await run("project", "list", "none") == 1
    assert "there is no organization none" in capsys.readouterr().err


async def test_tokens_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts: a list contains no token."""

    async def output(*words: str) -> dict[str, Any]:
        assert await run("token", *words, "--json") == 0
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    assert await run("org", "create", "acme") == 0
    capsys.readouterr()
    created = await output("create", "ci", "--org", "acme", "--scope", "org:read", "--rate", "5")
    listed = await output("list")
    shown = {"id": "1", "name": "ci", "organization": "acme", "scopes": ["org:read"], "rateLimit": 5}
    assert created["name"] == "ci"
    assert listed.items() >= shown.items()
    assert listed["tokenLastCharacters"] == created["token"][-4:]
    assert created["token"] not in str(listed)
    assert await output("revoke", "1") == {"id": "1", "name": "ci"}
    assert (await output("list"))["dateRevoked"] is not None
