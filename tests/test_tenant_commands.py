"""`org create` takes what the API would take, and nothing else."""

import pytest

from tests.commands import run
from tests.outbox import Postgres

_GOOD = ["https://ingest.example.com", "http://127.0.0.1:9000/base"]
_BAD = [
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


@pytest.mark.parametrize("url", _GOOD)
async def test_an_organization_can_have_its_own_base_of_dsns(url: str, postgres: Postgres) -> None:
    """As it was given."""
    assert await run("org", "create", "acme", "--ingest-url", url) == 0
    assert await postgres.fetchval("SELECT ingest_url FROM organization") == url


@pytest.mark.parametrize("url", _BAD)
async def test_what_no_dsn_can_begin_with_is_refused(
    url: str, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every DSN of the organization would be wrong otherwise, and nobody would be told."""
    assert await run("org", "create", "acme", "--ingest-url", url) == 2
    assert "without a slash at its end" in capsys.readouterr().err
    assert await postgres.fetchval("SELECT count(*) FROM organization") == 0
