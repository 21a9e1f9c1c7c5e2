"""`export`, and that an import of its output is the same data."""

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.app import Service
from service.domain.model import BROWSER_SDK_CHOICES, LOADER_OPTIONS, NewProjectKey
from service.settings import Settings
from tests.commands import run
from tests.conftest import ORIGIN, make_organization, make_project
from tests.outbox import Postgres

_TABLES = {
    "organization": "id, slug, name, ingest_url, created_at",
    "project": "id, organization_id, slug, name, created_at",
    "project_key": "id, project_id, label, public_key, secret_key, is_active, rate_limit_count, rate_limit_window, "
    "use_case, browser_sdk_version, loader_options::text, created_at, expires_at",
}

_EMPTY = """
    TRUNCATE organization, project, project_key, project_slug_redirect, deleted_key, outbox RESTART IDENTITY CASCADE
"""

_TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.timezones())  # noqa: DTZ001 -- hypothesis adds the zone
"""Times that the schema accepts."""

_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=64)
_STORED_NAMES = _NAMES.filter(lambda name: name == name.strip())
_HEX = st.binary(min_size=16, max_size=16).map(bytes.hex)
_IDS = st.integers(1, 2**53 - 1)


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the database of the commands."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)


@st.composite
def _keys(draw: st.DrawFn, project_ids: list[int]) -> dict[str, Any]:
    limit = draw(st.none() | st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 86_400)))
    options = {name: draw(st.booleans()) for name in LOADER_OPTIONS}
    return {
        "id": draw(_IDS),
        "project_id": draw(st.sampled_from(project_ids)),
        "label": draw(_STORED_NAMES),
        "public_key": draw(_HEX),
        "secret_key": draw(_HEX),
        "is_active": draw(st.booleans()),
        "rate_limit_count": limit and limit[0],
        "rate_limit_window": limit and limit[1],
        "browser_sdk_version": draw(st.none() | st.sampled_from(BROWSER_SDK_CHOICES)),
        "loader_options": orjson.dumps(options).decode(),
        "created_at": draw(_TIMES),
        "expires_at": draw(st.none() | _TIMES),
    }


def _unique(*names: str) -> Any:
    return tuple((lambda row, name=name: row[name]) for name in names)


@st.composite
def _trees(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """Rows of the three tables, of which any may have none."""
    organizations = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "id": _IDS,
                    "slug": st.from_regex(r"[a-z][a-z0-9-]{0,9}[a-z]", fullmatch=True),
                    "name": _STORED_NAMES,
                    "ingest_url": st.none() | st.just("https://relay.example.com:8443/ingest"),
                    "created_at": _TIMES,
                }
            ),
            max_size=3,
            unique_by=_unique("id", "slug"),
        )
    )
    projects: list[dict[str, Any]] = [
        {
            "id": project_id,
            "organization_id": organization["id"],
            "slug": f"p{number}",
            "name": draw(_STORED_NAMES),
            "created_at": draw(_TIMES),
        }
        for organization in organizations
        for number, project_id in enumerate(draw(st.lists(_IDS, max_size=2)))
    ]
    projects = [*{project["id"]: project for project in projects}.values()]
    keys = _keys([project["id"] for project in projects]) if projects else st.nothing()
    unique = _unique("id", "public_key", "secret_key")
    rows = draw(st.lists(keys, max_size=6, unique_by=unique)) if projects else []
    return {"organization": organizations, "project": projects, "project_key": rows}


async def _insert(postgres: Postgres, tree: dict[str, list[dict[str, Any]]]) -> None:
    for table, rows in tree.items():
        for row in rows:
            places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
            await postgres.execute(
                f"INSERT INTO {table} ({', '.join(row)}) OVERRIDING SYSTEM VALUE VALUES ({places})",  # noqa: S608 -- names of the test
                *row.values(),
            )


async def _contents(postgres: Postgres) -> dict[str, list[dict[str, Any]]]:
    return {
        table: [dict(row) for row in await postgres.fetch(f"SELECT {columns} FROM {table} ORDER BY id")]  # noqa: S608 -- constants
        for table, columns in _TABLES.items()
    }


@hypothesis_settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=_trees())
async def test_an_import_of_an_export_with_secrets_is_the_same_data(
    tree: dict[str, list[dict[str, Any]]], postgres: Postgres, tmp_path: Path
) -> None:
    """Of any organizations, projects and keys; every key has an event, and a second import finds nothing to do."""
    path = tmp_path / "keys.json"
    path.unlink(missing_ok=True)
    await postgres.execute(_EMPTY)
    await _insert(postgres, tree)
    before = await _contents(postgres)
    assert await run("export", "--with-secrets", "--output", str(path)) == 0
    await postgres.execute(_EMPTY)
    assert await run("import", str(path), "--apply") == 0
    assert await _contents(postgres) == before
    published = [row["aggregateid"] for row in await postgres.fetch("SELECT aggregateid FROM outbox")]
    assert sorted(published) == sorted(key["public_key"] for key in before["project_key"])
    assert await run("import", str(path)) == 0


async def test_an_export_has_secrets_only_if_they_are_asked_for(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is readable for its owner alone; without secrets, an import generates others."""
    project = await make_project(service)
    key = (await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key
    path = tmp_path / "keys.json"
    assert await run("export", "--output", str(path)) == 0
    assert key.secret_key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await run("import", str(path)) == 0, "an absent secret key is not compared"
    assert await run("export", "--output", str(path)) == 1
    assert "File exists" in capsys.readouterr().err
    assert await run("export", "--with-secrets") == 0
    assert key.secret_key in capsys.readouterr().out


async def test_an_expiry_is_exported_compared_and_published(
    service: Service, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the member `data` of the key; another one here is a difference."""
    project, expires_at = await make_project(service), datetime(2030, 1, 31, 12, tzinfo=UTC)
    new_key = NewProjectKey(expires_at=expires_at)
    key = (await service.use_cases.create_key.execute(new_key, project, ORIGIN)).key.public_key
    path = tmp_path / "keys.json"
    assert await run("export", "--with-secrets", "--output", str(path)) == 0
    data = orjson.loads(path.read_bytes())[-1]["fields"]["data"]
    assert data["expiresAt"] == "2030-01-31T12:00:00Z"
    await postgres.execute("UPDATE project_key SET expires_at = NULL")
    assert await run("import", str(path)) == 1
    assert "expires_at is None, in the file '2030-01-31T12:00:00Z'" in capsys.readouterr().out
    await postgres.execute("DELETE FROM project_key; DELETE FROM outbox")
    assert await run("import", str(path), "--apply") == 0
    assert await postgres.fetchval("SELECT expires_at FROM project_key") == expires_at
    [payload] = [row["payload"] for row in await postgres.fetch("SELECT payload FROM outbox")]
    assert orjson.loads(payload)["id"] == key
    assert orjson.loads(payload)["expiresAt"] == "2030-01-31T12:00:00Z"


async def test_an_export_of_one_organization_has_no_rows_of_others(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor those of a project that is being deleted; an organization that does not exist is an error."""
    projects = [
        await make_project(service, organization=await make_organization(service, slug)) for slug in ("acme", "other")
    ]
    for project in projects:
        await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)
    capsys.readouterr()
    assert await run("export", "--organization", "acme") == 0
    items = orjson.loads(capsys.readouterr().out)
    assert [(item["model"], item["pk"]) for item in items] == [
        ("sentry.organization", projects[0].organization.id),
        ("sentry.project", projects[0].id),
        ("sentry.projectkey", 1),
    ]
    assert await run("export", "--organization", "missing") == 1
    assert "there is no organization missing" in capsys.readouterr().err
