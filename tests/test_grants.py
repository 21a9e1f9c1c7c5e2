"""The service's database role has the privileges that the service needs, and no others."""

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

from projectkeys_servers.servers import Servers
from service.app import Service, build, check_dependencies, publishing, update_table_metrics
from service.domain.audit import AuditSearch
from service.domain.pagination import Page
from service.domain.scopes import SCOPES
from service.settings import Settings
from testkit.polling import poll_until
from tests.commands import run
from tests.conftest import Api, make_project
from tests.http_service import ORGANIZATION, ApiServer
from tests.outbox import Postgres
from tests.statements import statements

ROLE = 'projectkeys "service"'
"""A name that must be quoted in SQL."""


@pytest.fixture(scope="session")
async def role(servers: Servers) -> str:
    """Create a role that can log in and has no other privileges."""
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute(f"CREATE ROLE {_quoted(ROLE)} LOGIN PASSWORD 'service'")
    await admin.close()
    return ROLE


@pytest.fixture
async def granted(role: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Migrate the database as its owner and return the URL of the service's role in it."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert await run("migrate", "--grant-to", role) == 0
    return _url(database_url)


@pytest.fixture
async def restricted(granted: str) -> AsyncIterator[Postgres]:
    """A connection as the service's role."""
    connection = await asyncpg.connect(granted)
    yield connection
    await connection.close()


async def test_every_statement_of_the_service_is_permitted_except_those_of_the_owner(
    restricted: Postgres,
) -> None:
    """The server checks privileges when it plans a statement. Only the owner migrates and manages tokens."""
    refused = set()
    for statement in statements():
        try:
            await restricted.execute(f"EXPLAIN (GENERIC_PLAN) {statement.text}")
        except asyncpg.InsufficientPrivilegeError:
            refused.add(statement.name)
    assert refused == {"migrate._RECORD", "tokens._INSERT", "tokens._REVOKE"}


@pytest.fixture
async def restricted_service(settings: Settings, granted: str, topic: str) -> AsyncIterator[Service]:
    """Run the service with its publisher and jobs, connected as its role."""
    service = build(replace(settings, database_url=granted, kafka_topic=topic))
    async with publishing(service):
        yield service


@pytest.fixture
async def restricted_api(restricted_service: Service, service: Service, aiohttp_client: AiohttpClient) -> Api:
    """A client of the restricted service, with a token created by the owner."""
    token = await service.use_cases.tokens.create("test", scopes=SCOPES)
    project = await make_project(restricted_service)
    return Api(await aiohttp_client(ApiServer(restricted_service)), token, project)


async def test_the_service_works_with_the_privileges_of_its_role(
    restricted_service: Service, restricted_api: Api, postgres: Postgres
) -> None:
    """Tenants, keys, idempotency keys, jobs and events can be written, and lists for commands can be read."""
    for method, path, body, status in _requests(restricted_api):
        headers = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        response = await restricted_api.request(method, path, json=body, headers=headers)
        assert response.status == status, (method, path, await response.text())
    # Otherwise the second pass of a job starts after 30 s.
    await postgres.execute("UPDATE batch_job SET starts_at = 'epoch'")
    restricted_service.jobs.wake()
    await poll_until(lambda: postgres.fetchval("SELECT bool_and(finished_at IS NOT NULL) FROM batch_job"))
    await poll_until(lambda: postgres.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
    assert await postgres.execute("UPDATE idempotency SET created_at = 'epoch'") != "UPDATE 0"
    await restricted_service.jobs.delete_expired()
    assert await postgres.fetchval("SELECT count(*) FROM idempotency") == 0
    assert [token.name for token in await restricted_service.use_cases.tokens.list()] == ["test"]
    assert await restricted_service.use_cases.audit.of_all(AuditSearch(), Page(size=1))
    assert (await check_dependencies(restricted_service))["postgres"] == "ok"
    await update_table_metrics(restricted_service)


def _requests(api: Api) -> Iterator[tuple[str, str, Any, int]]:
    """Yield method, path, body and expected status of requests for every kind of resource."""
    organizations, projects = "/api/0/organizations/", f"/api/0/projects/{ORGANIZATION}/"
    key = f"{api.keys_path}{'a' * 32}/"
    yield "POST", organizations, {"name": "Acme"}, 201
    yield "GET", f"{organizations}acme/", None, 200
    yield "POST", f"{organizations}{ORGANIZATION}/projects/", {"name": "Web"}, 201
    yield "PUT", f"{projects}web/", {"slug": "shop"}, 200
    yield "PUT", f"{projects}shop/", {"slug": "web"}, 200
    yield "GET", f"{projects}web/", None, 200
    for _ in range(2):  # the second round creates a key that was deleted
        yield "POST", api.keys_path, {"public": "a" * 32}, 201
        yield "GET", key, None, 200
        yield "PUT", key, {"isActive": False}, 200
        yield "DELETE", key, None, 204
    yield "POST", api.keys_path, {"public": "b" * 32}, 201
    yield "POST", f"{api.keys_path}{'b' * 32}/rotate/", {}, 201
    yield "PUT", f"{api.keys_path}by-name/named/", {}, 201
    yield "GET", api.keys_path, None, 200
    yield "PUT", f"{organizations}{ORGANIZATION}/", {"ingestUrl": "https://elsewhere.example"}, 200
    yield "DELETE", f"{projects}web/", None, 204
    yield "GET", f"{organizations}{ORGANIZATION}/audit-logs/", None, 200


_FORBIDDEN = (
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


async def test_statements_that_the_service_does_not_need_are_refused(restricted: Postgres) -> None:
    """Postgres refuses them, so that a compromised service cannot execute them."""
    executed = []
    for statement in _FORBIDDEN:
        try:
            await restricted.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        executed.append(statement)
    assert executed == []


async def test_every_table_has_grants_and_none_beyond_rows(restricted: Postgres) -> None:
    """A new table needs a line in grants.sql."""
    rows = await restricted.fetch(
        """
        SELECT relname, has_table_privilege(oid, 'SELECT') AS is_granted,
               has_table_privilege(oid, 'TRUNCATE, REFERENCES, TRIGGER, MAINTAIN') AS is_excessive
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        """
    )
    assert len(rows) > 10
    assert [row["relname"] for row in rows if not row["is_granted"] or row["is_excessive"]] == []


async def test_each_migration_revokes_privileges_that_are_not_in_grants_sql(
    granted: str, role: str, restricted: Postgres, postgres: Postgres
) -> None:
    """Privileges that an administrator or an earlier release granted are revoked."""
    assert granted
    await postgres.execute(f"GRANT DELETE ON audit_entry TO {_quoted(role)}")
    await restricted.execute("DELETE FROM audit_entry")
    assert await run("migrate", "--grant-to", role) == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await restricted.execute("DELETE FROM audit_entry")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", 'there is no role missing: create it with CREATE ROLE "missing" LOGIN PASSWORD'),
        ("postgres", "the role postgres has the rights of the tables' owner"),
        ('x"; DROP TABLE outbox; --', "there is no role"),
    ],
)
async def test_migrate_refuses_a_role_that_grants_cannot_restrict(
    name: str,
    message: str,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is migrated: a superuser or a missing role would only seem to be restricted."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert await run("migrate", "--grant-to", name) == 1
    assert message in capsys.readouterr().err
    assert await run("migrate", "--check") == 1
    assert "version 0" in capsys.readouterr().err


async def test_grants_sql_runs_in_psql(
    role: str, servers: Servers, database_url: str, granted: str, restricted: Postgres, postgres: Postgres
) -> None:
    """With the command in its first lines."""
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


async def test_a_service_without_privileges_is_not_ready_and_names_the_command(
    role: str,
    database_url: str,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The likely cause is a migration without ``--grant-to``; readiness and `migrate --check` report the same."""
    url = _url(database_url)
    service = build(replace(settings, database_url=url))
    await service.database.start()
    try:
        problem = (await check_dependencies(service))["postgres"]
    finally:
        await service.database.close()
    assert "run `projectkeys migrate --grant-to` with its name" in problem
    assert role
    monkeypatch.setenv("DATABASE_URL", url)
    assert await run("migrate", "--check") == 1
    assert problem in capsys.readouterr().err


def _url(database_url: str) -> str:
    """Return the URL of the service's role in the same database."""
    parts = urlsplit(database_url)
    return f"postgresql://{quote(ROLE)}:service@{parts.hostname}:{parts.port}{parts.path}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
