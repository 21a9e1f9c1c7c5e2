"""The service's role in the database: all that the service needs, and nothing that it does not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import asyncpg
import pytest
from pytest_aiohttp import AiohttpClient

from service.app import Service, build, create_app, publishing
from service.dev.servers import Servers
from service.domain.audit import AuditSearch
from service.domain.pagination import Page
from service.domain.scopes import SCOPES
from service.settings import Settings
from testkit.polling import poll_until
from tests.commands import run
from tests.conftest import Api, make_project
from tests.http_service import ORGANIZATION
from tests.outbox import Postgres
from tests.statements import statements

ROLE = 'projectkeys "service"'
"""A name that has to be quoted."""


@pytest.fixture(scope="session")
async def role(servers: Servers) -> str:
    """A role that may log in and do nothing."""
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute(f"CREATE ROLE {_quoted(ROLE)} LOGIN PASSWORD 'service'")
    await admin.close()
    return ROLE


@pytest.fixture
async def granted(role: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the service's role in a database whose owner has migrated it."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert await run("migrate", "--grant-to", role) == 0
    return _url(database_url)


@pytest.fixture
async def restricted(granted: str) -> AsyncIterator[Postgres]:
    """A connection of the service's role."""
    connection = await asyncpg.connect(granted)
    yield connection
    await connection.close()


async def test_every_statement_of_the_service_is_permitted_except_those_of_the_owner(
    restricted: Postgres,
) -> None:
    """The server checks the rights when it plans a statement. The owner migrates, creates tokens and revokes them."""
    refused = set()
    for statement in statements():
        try:
            await restricted.execute(f"EXPLAIN (GENERIC_PLAN) {statement.text}")
        except asyncpg.InsufficientPrivilegeError:
            refused.add(statement.name)
    assert refused == {"migrate._RECORD", "tokens._INSERT", "tokens._REVOKE"}


@pytest.fixture
async def restricted_service(settings: Settings, granted: str, topic: str) -> AsyncIterator[Service]:
    """The service with its publisher and its jobs, as its role."""
    joined = build(replace(settings, database_url=granted, kafka_topic=topic))
    async with publishing(joined):
        yield joined


@pytest.fixture
async def restricted_api(restricted_service: Service, service: Service, aiohttp_client: AiohttpClient) -> Api:
    """A client of it; its token was made as the owner."""
    token = await service.api.tokens.create("test", scopes=SCOPES)
    project = await make_project(restricted_service)
    return Api(await aiohttp_client(create_app(restricted_service.api)), token, project)


async def test_the_whole_service_works_as_its_role(
    restricted_service: Service, restricted_api: Api, postgres: Postgres
) -> None:
    """Tenants, keys, idempotency keys, jobs, events to the last one, and what commands read."""
    for method, path, body, status in _everything(restricted_api):
        headers = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        response = await restricted_api.request(method, path, json=body, headers=headers)
        assert response.status == status, (method, path, await response.text())
    await postgres.execute(
        "UPDATE batch_job SET starts_at = 'epoch'"
    )  # the second pass would wait half a minute
    restricted_service.jobs.wake()
    await poll_until(lambda: postgres.fetchval("SELECT bool_and(finished_at IS NOT NULL) FROM batch_job"))
    await poll_until(lambda: postgres.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
    assert await postgres.execute("UPDATE idempotency SET created_at = 'epoch'") != "UPDATE 0"
    await restricted_service.jobs.tidy()
    assert await postgres.fetchval("SELECT count(*) FROM idempotency") == 0
    assert [one.name for one in await restricted_service.api.tokens.list()] == ["test"]
    assert await restricted_service.api.audit.of_all(AuditSearch(), Page(size=1))
    assert (await restricted_service.health.checks())["postgres"] == "ok"
    await restricted_service.health.before_scrape()


def _everything(api: Api) -> Iterator[tuple[str, str, Any, int]]:
    """Requests that write and read all that can be written and read, in an order that works."""
    organizations, projects = "/api/0/organizations/", f"/api/0/projects/{ORGANIZATION}/"
    key = f"{api.keys_path}{'a' * 32}/"
    yield "POST", organizations, {"name": "Acme"}, 201
    yield "GET", f"{organizations}acme/", None, 200
    yield "POST", f"{organizations}{ORGANIZATION}/projects/", {"name": "Web"}, 201
    yield "PUT", f"{projects}web/", {"slug": "shop"}, 200
    yield "PUT", f"{projects}shop/", {"slug": "web"}, 200
    yield "GET", f"{projects}web/", None, 200
    for _ in range(2):  # the second time it is a key that was deleted before
        yield "POST", api.keys_path, {"public": "a" * 32}, 201
        yield "GET", key, None, 200
        yield "PUT", key, {"isActive": False}, 200
        yield "DELETE", key, None, 204
    yield "POST", api.keys_path, {}, 201
    yield "GET", api.keys_path, None, 200
    yield "PUT", f"{organizations}{ORGANIZATION}/", {"ingestUrl": "https://elsewhere.example"}, 200
    yield "DELETE", f"{projects}web/", None, 204
    yield "GET", f"{organizations}{ORGANIZATION}/audit-logs/", None, 200


_NOT_NEEDED = (
    *(f"DROP TABLE {table}" for table in ("project_key", "audit_entry", "schema_version")),
    *(f"TRUNCATE {table}" for table in ("project_key", "outbox", "audit_entry", "api_token")),
    "ALTER TABLE project_key DROP CONSTRAINT project_key_public_key_taken",
    "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
    "CREATE INDEX ON project_key (label)",
    "CREATE TABLE mine (id bigint)",
    "CREATE FUNCTION mine() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
    "UPDATE audit_entry SET token_id = NULL",
    "DELETE FROM audit_entry",
    "UPDATE schema_version SET version = 2",
    "INSERT INTO schema_migration (name) VALUES ('9999_x')",
    "DELETE FROM schema_migration",
    "DELETE FROM organization",
    "DELETE FROM outbox_shard",
    "INSERT INTO outbox_shard (shard) VALUES (12)",
    "DELETE FROM batch_job",
    "DELETE FROM api_token",
    "UPDATE api_token SET scopes = ARRAY['org:admin']",
    "UPDATE api_token SET revoked_at = NULL",
    "INSERT INTO api_token (name, token_hash, last_four, scopes) VALUES ('x', sha256('x'), 'abcd', '{org:admin}')",
    "SELECT nextval(pg_get_serial_sequence('audit_entry', 'id'))",
    "SELECT rolpassword FROM pg_authid",
    "COPY project_key TO PROGRAM 'cat'",
)


async def test_what_the_service_does_not_need_is_refused(restricted: Postgres) -> None:
    """By the database, whatever becomes of the service."""
    done = []
    for statement in _NOT_NEEDED:
        try:
            await restricted.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        done.append(statement)
    assert done == []


async def test_no_table_is_left_out_and_none_gives_more_than_rows(restricted: Postgres) -> None:
    """A new table needs a line in grants.sql."""
    rows = await restricted.fetch(
        """
        SELECT relname, has_table_privilege(oid, 'SELECT') AS is_named,
               has_table_privilege(oid, 'TRUNCATE, REFERENCES, TRIGGER, MAINTAIN') AS is_too_much
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        """
    )
    assert len(rows) > 10
    assert [row["relname"] for row in rows if not row["is_named"] or row["is_too_much"]] == []


async def test_each_migration_takes_back_what_is_not_written_down(
    granted: str, role: str, restricted: Postgres, postgres: Postgres
) -> None:
    """Rights that were given by hand, or by an earlier version, do not stay for ever."""
    assert granted
    await postgres.execute(f"GRANT DELETE ON audit_entry TO {_quoted(role)}")
    await restricted.execute("DELETE FROM audit_entry")
    assert await run("migrate", "--grant-to", role) == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await restricted.execute("DELETE FROM audit_entry")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", 'there is no role nobody: create it with CREATE ROLE "nobody" LOGIN PASSWORD'),
        ("postgres", "the role postgres has the rights of the tables' owner"),
        ('x"; DROP TABLE outbox; --', "there is no role"),
    ],
)
async def test_a_role_that_cannot_be_restricted_is_refused_and_nothing_migrated(
    name: str,
    words: str,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rights that are no limit would be believed to be one; the next try begins anew."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert await run("migrate", "--grant-to", name) == 1
    assert words in capsys.readouterr().err
    assert await run("migrate", "--check") == 1
    assert "version 0" in capsys.readouterr().err


async def test_the_file_also_runs_by_hand(
    role: str, servers: Servers, database_url: str, granted: str, restricted: Postgres, postgres: Postgres
) -> None:
    """As its first lines say, with psql."""
    await postgres.execute(f"REVOKE ALL ON project_key FROM {_quoted(role)}")
    file = Path(__file__).parents[1] / "service" / "postgres" / "grants.sql"
    psql = await asyncio.create_subprocess_exec(
        str(servers.postgres.bin_dir / "psql"),
        *("--quiet", "-v", "ON_ERROR_STOP=1", "-v", f"role={role}", "-v", "schema=public", "-f", str(file)),
        database_url,
    )
    assert await psql.wait() == 0
    assert granted
    assert await restricted.fetchval("SELECT count(*) FROM project_key") == 0


async def test_without_rights_the_service_is_unready_and_says_what_to_do(
    role: str,
    database_url: str,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A migration without ``--grant-to`` is the likely reason; a command says the same."""
    url = _url(database_url)
    joined = build(replace(settings, database_url=url))
    await joined.database.start()
    try:
        said = (await joined.health.checks())["postgres"]
    finally:
        await joined.database.close()
    assert "run `projectkeys migrate --grant-to` with its name" in said
    assert role
    monkeypatch.setenv("DATABASE_URL", url)
    assert await run("migrate", "--check") == 1
    assert said in capsys.readouterr().err


def _url(database_url: str) -> str:
    """The URL of the service's role in the same database."""
    parts = urlsplit(database_url)
    return f"postgresql://{quote(ROLE)}:service@{parts.hostname}:{parts.port}{parts.path}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
