"""`dsn check`: which DSNs are valid, by the API and by an edge."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.cli import commands
from service.domain.model import new_key_half
from tests.commands import run
from tests.edge_site import EdgeSite, open_edge
from tests.http_service import ORGANIZATION, Site

_UNKNOWN = f"https://{'0' * 32}@sentry.io/1"
_EDGE_TOKEN = "a-token-of-the-edge"  # noqa: S105 -- of a temporary edge


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the command prints: the API and the edge run in this process and log to the same stream."""
    printed: list[str] = []
    monkeypatch.setattr(commands, "print_lines", lambda *lines: printed.extend(lines))
    return printed


@pytest.fixture
async def api(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The command with the options of the API."""
    monkeypatch.setenv("TOKEN", site.token)
    return ("dsn", "check", "--api", f"http://127.0.0.1:{site.service.settings.port}", "--org", ORGANIZATION)


async def test_the_state_of_each_key_is_printed(site: Site, api: tuple[str, ...], lines: list[str]) -> None:
    """The exit code is 1 unless all are active; the secret half of a DSN is not printed."""
    active, disabled = [(await site.create({})).body for _ in range(2)]
    await site.send("PUT", f"{site.keys_path}{disabled['id']}/", json={"isActive": False})
    dsn = active["dsn"]["public"]
    assert await run(*api, dsn) == 0
    assert lines == [f"active: {dsn}"]
    lines.clear()
    other_project = f"{dsn.rpartition('/')[0]}/{site.project_id + 1}"
    other_host = dsn.replace("sentry.io", "sentry.example")
    dsns = [
        active["dsn"]["secret"],
        disabled["dsn"]["public"],
        _UNKNOWN,
        other_project,
        other_host,
        "x\x1b[2J",
    ]
    assert await run(*api, *dsns) == 1
    assert lines == [
        f"active: {dsn}",
        f"disabled: {disabled['dsn']['public']}",
        f"unknown: {_UNKNOWN}",
        f"wrong project, the key belongs to {site.project_id}: {other_project}",
        f"wrong host, the DSN of the key is {dsn}: {other_host}",
        "malformed: x\\x1b[2J",
    ]
    assert active["secret"] not in "".join(lines)


async def test_dsns_are_read_from_standard_input(
    site: Site,
    api: tuple[str, ...],
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One on each line, in any encoding; the output may be JSON."""
    dsn = (await site.create({})).body["dsn"]["public"]
    raw = io.BytesIO(f"\n {dsn} \n".encode() + b"\xff\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw, encoding="utf-8"))
    assert await run(*api, "--json") == 1
    assert [json.loads(line) for line in lines] == [
        {"dsn": dsn, "status": "active"},
        {"dsn": "\\xff", "status": "malformed"},
    ]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n"), encoding="utf-8"))
    assert await run(*api) == 1
    assert "there is no DSN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--org", "no-such-organization"], "there is no organization no-such-organization"),
        (["--org", "../.."], "there is no organization ../.."),
        (["--api", "http://127.0.0.1:9"], "http://127.0.0.1:9/api/0/"),
    ],
)
async def test_an_api_that_cannot_be_asked_is_an_error(
    api: tuple[str, ...],
    options: list[str],
    message: str,
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No DSN is reported as unknown."""
    assert await run(*api, *options, _UNKNOWN) == 1
    assert lines == []
    assert message in capsys.readouterr().err


async def test_a_wrong_token_is_named(
    api: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The organization is required, too."""
    monkeypatch.setenv("TOKEN", "wrong")
    assert await run(*api, _UNKNOWN) == 1
    assert "responded with 401: check the token in TOKEN or EDGE_TOKEN" in capsys.readouterr().err
    assert await run(*api[:4], _UNKNOWN) == 1
    assert "--api needs --org" in capsys.readouterr().err


@pytest.fixture
async def edge(kafka_bootstrap: str, tmp_path: Path) -> AsyncIterator[EdgeSite]:
    """An edge with a token."""
    async with open_edge(kafka_bootstrap, directory=tmp_path, edge_token=_EDGE_TOKEN) as opened:
        yield opened


async def test_an_edge_knows_the_states_of_keys(
    edge: EdgeSite, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when they expire."""
    monkeypatch.setenv("EDGE_TOKEN", _EDGE_TOKEN)
    keys = [new_key_half() for _ in range(4)]
    expiries = [None, "2020-01-01T00:00:00Z", "9999-01-01T00:00:00Z", None]
    for key, time in zip(keys, expiries, strict=True):
        await edge.write(key, 1, expiresAt=time, isActive=key is not keys[3])
    dsns = [f"https://{key}@ingest.example.com/1" for key in keys]
    assert await run("dsn", "check", "--edge", edge.url, *dsns, _UNKNOWN) == 1
    found = [line.partition(": ")[0] for line in lines]
    assert found[:2] == ["active", "expired"]
    assert found[2].startswith("active, expires in ")
    assert found[3:] == ["disabled", "unknown"]
    assert await run("dsn", "check", "--edge", edge.url, dsns[0], dsns[2]) == 0
