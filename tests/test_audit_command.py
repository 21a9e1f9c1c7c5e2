"""The output of `audit list`."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from service.app import Service
from tests.commands import run
from tests.conftest import Api
from tests.http_service import ORGANIZATION


@pytest.fixture(autouse=True)
def _here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the database of the command."""
    monkeypatch.setenv("DATABASE_URL", database_url)


async def _list(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    assert await run("audit", "list", *arguments) == 0
    return capsys.readouterr().out.splitlines()


async def test_it_lists_the_entries_of_all_organizations_newest_first(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line has the time, organization, action, target, actor and address; those of the installation as well."""
    key = (await (await api.create({"name": "First"}, headers={"X-Request-Id": "r-1"})).json())["id"]
    heading, newest, token, *others = await _list(capsys)
    assert heading.split()[:2] == ["TIME", "(UTC)"]
    now = f"{datetime.now(UTC):%Y-%m-%dT%H}"
    assert newest.startswith(now)
    assert newest.split()[1:8] == [ORGANIZATION, "projectkey.create", key, "test", "(1)", "127.0.0.1", "r-1"]
    assert newest.endswith('{"name":"First","rateLimit":null}')
    assert token.split()[1:7] == ["(all)", "token.create", "test", "command", "line", "-"]
    assert [line.split()[2] for line in others] == ["project.create", "organization.create"]


async def test_filters_select_entries(service: Service, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """By organization, project slug or id, target, action, time and number."""
    key = (await (await api.create({"name": "First"})).json())["id"]
    await service.use_cases.tokens.create("ci", scopes=["org:read"], organization=ORGANIZATION)
    for arguments, actions in (
        (
            ["--org", ORGANIZATION],
            ["token.create", "projectkey.create", "project.create", "organization.create"],
        ),
        (["--org", ORGANIZATION, "--project", "pump-station"], ["projectkey.create", "project.create"]),
        (["--project", str(api.project.id)], ["projectkey.create", "project.create"]),
        (["--key", key], ["projectkey.create"]),
        (["--target", "ci"], ["token.create"]),
        (["--action", "token.create"], ["token.create", "token.create"]),
        (["--since", "1h", "--limit", "2"], ["token.create", "projectkey.create"]),
        (["--since", (datetime.now(UTC) + timedelta(minutes=1)).isoformat()], []),
    ):
        lines = await _list(capsys, *arguments)
        assert [line.split()[2] for line in lines[1:]] == actions, arguments


async def test_json_lines_have_the_members_of_the_api_and_the_organization(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that one program can read both."""
    await api.create({"name": "First"})
    lines = [orjson.loads(line) for line in await _list(capsys, "--json")]
    response = await api.request("GET", f"/api/0/organizations/{ORGANIZATION}/audit-logs/?per_page=1")
    [row] = (await response.json())["rows"]
    assert lines[0] == {**row, "organization": ORGANIZATION}
    assert {line["organization"] for line in lines} == {ORGANIZATION, None}


async def test_names_cannot_start_a_line_or_control_the_terminal(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clients choose the names of keys."""
    response = await api.create({"name": "a\u202eb\n2026 forged\x1b[2J"})
    assert response.status == 201
    lines = await _list(capsys, "--action", "projectkey.create")
    assert len(lines) == 2
    assert lines[1].isprintable()
    assert "forged" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--org", "unknown"], 1, "there is no organization unknown"),
        (["--org", ORGANIZATION, "--project", "nothing"], 1, "there is no project nothing in"),
        (["--project", "web"], 1, "--project with a slug needs --org"),
        (["--since", "yesterday"], 2, "must be an age such as 30m, 12h or 7d, or a time such as"),
        (["--limit", "0"], 2, "must be a whole number from 1 to 10000"),
        (["--action", "member.add"], 2, "invalid choice: 'member.add'"),
    ],
)
@pytest.mark.usefixtures("api")
async def test_invalid_arguments_are_explained(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is not 0."""
    assert await run("audit", "list", *arguments) == code
    assert words in " ".join(capsys.readouterr().err.split())
