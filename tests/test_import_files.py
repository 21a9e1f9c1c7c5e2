"""Files that cannot be imported: nothing is written, and the message has the line."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.settings import Settings
from tests.commands import run
from tests.outbox import Postgres
from tests.transfer_files import key_item, organization_item, project_item, write_json, write_text

_COLUMNS = b"organization,project,project_id,public_key\n"
_ORGANIZATION = orjson.dumps(organization_item())

_UNSUITABLE: list[tuple[dict[str, Any], str]] = [
    ({"public_key": "A" * 32}, "public_key must be 32 lower-case"),
    ({"public_key": None}, "public_key must be 32 lower-case"),
    ({"secret_key": "é" * 32}, "secret_key must be 32 lower-case"),
    ({"label": "a" * 65}, "label must be 1 to 64 characters"),
    ({"label": "a\0b"}, "label must not contain null"),
    ({"label": {"a": 1}}, "label must be 1 to 64 characters"),
    ({"roles": "all"}, "roles must be a whole number"),
    ({"status": 2}, "status must be a whole number of at most 1"),
    ({"project": 2**53}, "project must be a whole number"),
    ({"project": True}, "project must be a whole number"),
    ({"rate_limit_count": 2**31, "rate_limit_window": 1}, "rate_limit_count must be a whole number"),
    ({"rate_limit_count": 1, "rate_limit_window": 86_401}, "rate_limit_window must be a whole number"),
    ({"rate_limit_count": -1, "rate_limit_window": 1}, "rate_limit_count must be a whole number"),
    ({"date_added": "2021-06-22T22:54:28"}, "date_added must be an ISO 8601 time with a zone"),
    ({"date_added": "0001-01-01T00:00:00+14:00"}, "date_added must be an ISO 8601 time"),
    ({"date_added": "1969-12-31T23:59:59Z"}, "date_added must be an ISO 8601 time with a zone, from 1970"),
    ({"date_added": "9999-12-31T00:00:00Z"}, "date_added must be an ISO 8601 time with a zone, from 1970"),
    ({"data": "[]"}, "data must be an object"),
    ({"data": "{"}, "text in quotes or braces must be JSON"),
    ({"data": {"dynamicSdkLoaderOptions": {"hasReplay": "perhaps"}}}, "hasReplay must be true or false"),
    ({"data": {"browserSdkVersion": "11"}}, "browserSdkVersion must be one of"),
    ({"data": {"expiresAt": "2030-01-01T00:00:00"}}, "expiresAt must be an ISO 8601 time with a zone"),
]
"""Values of a key, and the start of the message about them."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "line 1: expected a JSON list, or the columns of CSV", id="empty"),
        pytest.param(b"\x7fELF\x02\x01\x00\xff", "line 1: the text is not UTF-8", id="binary"),
        pytest.param(b"\x00" * 100_000, "line 1: the line is longer than 65536 bytes", id="one long line"),
        pytest.param(b"[\n" + _ORGANIZATION, "line 2: expected a comma or ]", id="truncated list"),
        pytest.param(b"[\n" + _ORGANIZATION[:-9], "line 2: the object is not JSON", id="truncated object"),
        pytest.param(b"[\n" + _ORGANIZATION + b",\n]", "line 3: expected an object after", id="comma at the end"),
        pytest.param(b"[" + _ORGANIZATION + b"]\n\n[]", "line 3: there is text after the end", id="two lists"),
        pytest.param(b"[\n\n5]", "line 3: expected an object", id="a number"),
        pytest.param(b'[{"a":\n\n\xff}]', "line 3: the text is not UTF-8", id="not UTF-8"),
        pytest.param(b'[\n{"a":' + b"[" * 200_000, "line 2: the object is", id="nested deeply"),
        pytest.param(b'[\n{"a":' + b"1" * 5_000 + b"}]", "line 2: the object is", id="long number"),
        pytest.param(b'[\n{"a":"' + b"a" * 3_000_000 + b'"}]', "line 2: the object is", id="long text"),
        pytest.param(b"organization,project\n", "line 1: expected a JSON list, or", id="columns missing"),
        pytest.param(_COLUMNS[:-1] + b",password\n", "line 1: expected a JSON list, or", id="unknown column"),
        pytest.param(_COLUMNS + b"\nacme,web\n", "line 3: expected 4 values", id="values missing"),
        pytest.param(_COLUMNS + b'acme,"web\n' + b"x" * 60_000, "line 3: the line is not CSV", id="open quote"),
        pytest.param(_COLUMNS + b"acme,web,\xff", "line 2: the text is not UTF-8", id="CSV not UTF-8"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused(
    text: bytes,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the line, without a traceback and its contents, before the command connects to the database."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    assert await run("import", write_text(tmp_path, text), "--apply") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"projectkeys: {message}")
    assert len(error) < 250


async def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing one, and a directory."""
    assert await run("import", str(tmp_path / "missing")) == 1
    assert "missing: No such file" in capsys.readouterr().err
    assert await run("import", str(tmp_path)) == 1
    assert "Is a directory" in capsys.readouterr().err


async def test_values_that_do_not_fit_are_conflicts(
    postgres: Postgres,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each with the line of its record; nothing is written."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    items = [organization_item(), project_item(), key_item(1)]
    items += [key_item(number, **fields) for number, (fields, _) in enumerate(_UNSUITABLE, 2)]
    path = write_text(tmp_path, b"[" + b",\n\n".join(map(orjson.dumps, items)) + b"]")
    assert await run("import", path, "--apply") == 1
    conflicts = re.findall("conflict in line ([0-9]+): sentry.projectkey: (.*)", capsys.readouterr().out)
    for (line, text), (number, (_, reason)) in zip(conflicts, enumerate(_UNSUITABLE, 3), strict=True):
        assert (int(line), text[: len(reason)]) == (2 * number + 1, reason)
    assert await postgres.fetchval("SELECT count(*) FROM organization") == 0


async def test_records_that_contradict_each_other_are_conflicts(
    postgres: Postgres,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same id, slug, public key or secret key; a record that is repeated unchanged has no effect."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    key = key_item(1)
    fields = key["fields"]
    items = [
        *[organization_item(), organization_item(), organization_item(8), organization_item(slug="other")],
        *[project_item(), project_item(), project_item(41), project_item(slug="other")],
        *[
            key,
            key,
            key_item(2, public_key=fields["public_key"]),
            key_item(3, secret_key=fields["secret_key"]),
        ],
        key_item(1),
    ]
    assert await run("import", write_json(tmp_path, items), "--apply") == 1
    conflicts = re.findall("conflict in line [0-9]+: (.*) is in line", capsys.readouterr().out)
    assert conflicts == [
        "the slug of this organization",
        "the id of this organization",
        "the slug of this project",
        "the id of this project",
        "the public key of this project key",
        "the secret key of this project key",
        "the id of this project key",
    ]
    assert await postgres.fetchval("SELECT count(*) FROM organization") == 0
