"""Rows that other programs write: those that the service could not read are refused, and repaired by a migration."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.app import Service
from service.domain.model import LoaderOptions
from service.domain.pagination import Page
from service.postgres.migrate import migrate
from testkit.commits import RELEASE_0_1_0, read_file
from tests.conftest import make_project
from tests.http_service import Site
from tests.outbox import Postgres

OPTIONS = '{"hasReplay":false,"hasPerformance":false,"hasDebug":false,"hasFeedback":false,"hasLogsAndMetrics":true}'
DEFAULTS = '{"hasReplay":true,"hasPerformance":true,"hasDebug":false,"hasFeedback":false,"hasLogsAndMetrics":false}'
UNREADABLE = [
    "{}",
    "[]",
    "null",
    '"text"',
    OPTIONS.replace("true", "1"),
    OPTIONS.replace("true", "null"),
    OPTIONS.replace('"hasDebug":false,', ""),
    OPTIONS.replace("hasDebug", "hasReplay"),
    f"[{OPTIONS}]",
    OPTIONS.replace("}", ',"x":"\\ud800"}'),
]
FORMATTED = (
    '{ "hasLogsAndMetrics" : true,\n"hasReplay": false, "hasPerformance":false, "hasDebug":false,'
    '"hasFeedback":false }'
)
_INSERT_KEY = """
    INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options, created_at)
    SELECT $1, 'by hand', md5('public' || $2), md5('secret' || $2), $3::json, $4::text::timestamptz
    RETURNING public_key
"""


async def _insert_key(postgres: Postgres, project_id: int, name: str, options: str, time: str = "now") -> str:
    return str(await postgres.fetchval(_INSERT_KEY, project_id, name, options, time))


@pytest.fixture
async def rows(site: Site) -> AsyncIterator[Postgres]:
    """A connection in a transaction, which is rolled back, with a row in each table."""
    transaction = site.postgres.transaction()
    await transaction.start()
    await site.postgres.execute(
        "INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers)"
        " VALUES (gen_random_uuid(), 'k', 't', 1, 0, '{}', '{}')"
    )
    await _insert_key(site.postgres, site.project_id, "one", OPTIONS)
    yield site.postgres
    await transaction.rollback()


@pytest.mark.parametrize("options", UNREADABLE)
async def test_the_schema_refuses_loader_options_that_are_not_five_booleans(
    site: Site, rows: Postgres, options: str
) -> None:
    """Every member is required, and each is true or false."""
    with pytest.raises(asyncpg.CheckViolationError, match="project_key_is_readable"):
        await _insert_key(rows, site.project_id, "bad", options)


async def test_the_schema_accepts_loader_options_in_any_format(site: Site) -> None:
    """In any order, with any white space."""
    key = await _insert_key(site.postgres, site.project_id, "good", FORMATTED)
    read = (await site.send("GET", f"{site.keys_path}{key}/")).body
    assert read["dynamicSdkLoaderOptions"] == json.loads(FORMATTED)


@pytest.mark.parametrize(
    "statement",
    [
        *(
            f"UPDATE {table} SET created_at = '{time}'"  # noqa: S608 -- constants
            for table in ("organization", "project", "api_token", "audit_entry", "outbox", "project_key")
            for time in ("infinity", "-infinity", "20000-01-01", "0044-03-15 BC")
        ),
        "UPDATE api_token SET expires_at = 'infinity'",
        "UPDATE organization SET ingest_url = 'http://['",
        "UPDATE organization SET ingest_url = 'https://h/%20x'",
        "UPDATE organization SET ingest_url = ''",
    ],
)
async def test_the_schema_refuses_values_that_the_service_could_not_read(rows: Postgres, statement: str) -> None:
    """A time that Python cannot represent fails the whole statement; so does a URL from which no DSN follows."""
    with pytest.raises(asyncpg.CheckViolationError, match="is_readable"):
        await rows.execute(statement)


async def test_an_unreadable_key_fails_no_other(service: Service, postgres: Postgres) -> None:
    """It has the default options until `migrate` repairs it."""
    project = await make_project(service)
    await postgres.execute("ALTER TABLE project_key DROP CONSTRAINT project_key_is_readable")
    keys = [
        await _insert_key(postgres, project.id, str(number), options)
        for number, options in enumerate([OPTIONS, *UNREADABLE])
    ]
    page = await service.use_cases.read_keys.page(project, Page(size=100))
    assert [key.public_key for key in page.keys] == keys[::-1]
    assert {key.loader_options for key in page.keys[:-1]} == {LoaderOptions()}


@pytest.fixture
async def released(empty_database_url: str) -> AsyncIterator[Postgres]:
    """A connection to a database of release 0.1.0 with rows of a tenant, four of which cannot be read."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(read_file(RELEASE_0_1_0, "schema.sql"))
    await connection.execute(
        "INSERT INTO organization (slug, name, ingest_url) VALUES ('acme', 'a', 'http://['), ('other', 'o', NULL);"
        "INSERT INTO project (organization_id, slug, name, created_at) VALUES (1, 'p', 'p', 'infinity')"
    )
    await _insert_key(connection, 1, "good", OPTIONS)
    await _insert_key(connection, 1, "bad", "{}")
    await _insert_key(connection, 1, "surrogate", UNREADABLE[-1])
    await _insert_key(connection, 1, "old", FORMATTED, "20000-01-01")
    yield connection
    await connection.close()


async def test_the_migration_repairs_and_reports_unreadable_rows(released: Postgres) -> None:
    """Others stay unchanged; the constraints are validated."""
    before = [dict(row) for row in await released.fetch("SELECT public_key FROM project_key ORDER BY id")]
    good, bad, surrogate, old = (row["public_key"] for row in before)
    lines: list[str] = []
    await migrate(released, report=lines.append)
    key_problem = "loader options that are not five booleans or a time out of range."
    assert sorted(line for line in lines if line.startswith("Repaired")) == sorted(
        [
            "Repaired organization acme: an ingest URL without a DSN or a time out of range.",
            "Repaired project p: a time out of range.",
            *(f"Repaired key {key}: {key_problem}" for key in (bad, surrogate, old)),
        ]
    )
    rows = await released.fetch("SELECT public_key, loader_options FROM project_key")
    assert dict(map(tuple, rows)) == {good: OPTIONS, bad: DEFAULTS, surrogate: DEFAULTS, old: FORMATTED}
    assert await released.fetchval("SELECT max(created_at)::text FROM project_key") < "9999-12-31 12"
    unvalidated = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated"
    assert await released.fetchval(unvalidated) == 0
