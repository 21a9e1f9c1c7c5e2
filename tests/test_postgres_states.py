"""States of Postgres that prevent connections or writes: always 503, and the reason in /readyz."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from projectkeys_servers.servers import Servers
from service.domain.errors import ConflictError, UnavailableError, UncertainError, UnreachableError
from service.postgres.database import Database, Limits
from service.postgres.failures import failure_of_statement
from service.postgres.migrate import migrate
from service.postgres.schema import SchemaError
from service.settings import Settings
from testkit.http_client import request
from testkit.polling import poll_until
from tests.http_service import Site, open_site
from tests.outbox import Postgres

_UNAVAILABLE = {"detail": "The service is temporarily unavailable. Try again."}


@pytest.fixture
async def admin(servers: Servers) -> AsyncIterator[Postgres]:
    """A connection of the superuser to another database."""
    connection = await asyncpg.connect(servers.postgres.url)
    yield connection
    await connection.close()


async def _readyz(site: Site) -> tuple[int, dict[str, Any]]:
    response = await request(site.service.settings.ops_port, "GET", "/readyz")
    return response.status, response.json()["checks"]


async def _creates(site: Site) -> bool:
    return (await site.create({"name": "x"})).status == 201


async def _check_unavailable(site: Site, reason: str) -> None:
    """Check the responses of both ports while no connection can be opened."""
    for _ in range(2):  # the second round is within the backoff
        for response in (await site.send("GET", site.keys_path), await site.create({"name": "x"})):
            assert (response.status, response.headers["Retry-After"], response.body) == (
                503,
                "1",
                _UNAVAILABLE,
            )
    status, checks = await _readyz(site)
    assert status == 503
    assert reason in checks["postgres"]
    assert (await request(site.service.settings.ops_port, "GET", "/metrics")).status == 200


@pytest.mark.parametrize(
    ("change", "undo", "reason"),
    [
        ("{0} ALLOW_CONNECTIONS false", "{0} ALLOW_CONNECTIONS true", "not currently accepting connections"),
        ("{0} RENAME TO {0}_renamed", "{0}_renamed RENAME TO {0}", "does not exist"),
    ],
)
async def test_a_database_without_connections_is_503_until_it_is_back(
    change: str, undo: str, reason: str, settings: Settings, admin: Postgres
) -> None:
    """The reason is the server's text; no restart is needed."""
    name = urlsplit(settings.database_url).path.lstrip("/")
    async with open_site(settings) as site:
        await site.postgres.close()
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        await admin.execute(f"ALTER DATABASE {change.format(name)}")
        try:
            await _check_unavailable(site, reason)
        finally:
            await admin.execute(f"ALTER DATABASE {undo.format(name)}")
        await poll_until(partial(_creates, site), timeout=5)
        assert (await _readyz(site))[0] == 200


@asynccontextmanager
async def _refusing_server(sqlstate: str, severity: str) -> AsyncIterator[str]:
    """Run a server that rejects every connection with this error; yield its URL."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        fields = f"S{severity}\0V{severity}\0C{sqlstate}\0Mno reason\0\0".encode()
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"postgresql://u:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/d?sslmode=disable"


@pytest.mark.parametrize("severity", ["FATAL", "ERROR"])
@pytest.mark.parametrize("sqlstate", ["XX000", "3D000", "42501", "42704", "28P01", "55000", "08P01", "99999"])
async def test_every_error_while_connecting_is_the_same_failure(sqlstate: str, severity: str) -> None:
    """Also those of poolers, whose SQLSTATEs have other meanings."""
    async with _refusing_server(sqlstate, severity) as url:
        database = Database(lambda: url, Limits())
        await database.start()
        with pytest.raises(UnreachableError, match="no reason"):
            async with database.connection():
                pass
        await database.close()


@pytest.mark.parametrize(
    ("sqlstate", "severity", "expected"),
    [
        ("40001", "ERROR", ConflictError),
        ("40P01", "ERROR", ConflictError),
        ("40003", "ERROR", UncertainError),
        ("57P01", "FATAL", UncertainError),
        ("XX000", "FATAL", UncertainError),
        ("3D000", "FATAL", UnavailableError),  # a pooler connects to the server at the first statement
        ("25P03", "FATAL", UnavailableError),
        ("25006", "ERROR", UnavailableError),
        ("42501", "ERROR", UnavailableError),
        ("42P01", "ERROR", UnavailableError),
        ("53100", "ERROR", UnavailableError),
        ("XX001", "ERROR", UnavailableError),
        ("23514", "ERROR", asyncpg.CheckViolationError),
        ("42601", "ERROR", asyncpg.PostgresSyntaxError),
    ],
)
def test_errors_of_statements_are_classified_by_their_sqlstate(
    sqlstate: str, severity: str, expected: type[Exception]
) -> None:
    """Only defects of the program keep their type, and become 500."""
    error = asyncpg.PostgresError.new({"S": severity, "V": severity, "C": sqlstate, "M": "no reason"})
    assert type(failure_of_statement(error)) is expected


async def _change_concurrently(site: Site, *, times: int) -> list[int]:
    key, *others = [(await site.create({"name": "0"})).body["id"] for _ in range(times + 1)]
    puts = [site.send("PUT", f"{site.keys_path}{key}/", json={"name": str(n)}) for n in range(times)]
    creates = [site.create({"name": str(n)}) for n in range(times)]
    deletes = [site.send("DELETE", f"{site.keys_path}{other}/") for other in others]
    return sorted({response.status for response in await asyncio.gather(*puts, *creates, *deletes)})


@pytest.mark.parametrize("through_pgbouncer", [False, True])
async def test_a_serializable_default_fails_no_write(
    *, through_pgbouncer: bool, settings: Settings, postgres: Postgres
) -> None:
    """Sessions set their isolation level; where they cannot, writes are repeated and /readyz names the parameter."""
    name = urlsplit(settings.database_url).path.lstrip("/")
    await postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    patient = replace(settings, acquire_timeout=10.0, request_timeout=60.0)
    async with open_site(replace(patient, database_pgbouncer=through_pgbouncer)) as site:
        assert await _change_concurrently(site, times=20) == [200, 201, 204]
        status, checks = await _readyz(site)
    assert (status, checks["postgres"]) == (200, "ok")
    named = "default_transaction_isolation is 'serializable', not 'read committed'"
    assert (named in checks.get("postgres_session", "")) is through_pgbouncer
    assert ("statement_timeout is '0', not '3000'" in checks.get("postgres_session", "")) is through_pgbouncer


async def test_a_commit_that_may_be_lost_is_reported(settings: Settings, postgres: Postgres) -> None:
    """The service stays ready: it does not lose keys unless the server crashes."""
    name = urlsplit(settings.database_url).path.lstrip("/")
    await postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with open_site(settings) as site:
        status, checks = await _readyz(site)
    assert status == 200
    assert checks["postgres_session"].startswith("synchronous_commit is 'off'")


async def test_a_read_only_database_is_not_ready(settings: Settings, postgres: Postgres) -> None:
    """Writes are 503, reads continue; the service is ready again without a restart."""
    name = urlsplit(settings.database_url).path.lstrip("/")
    async with open_site(settings) as site:
        await postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await poll_until(lambda: _is_refused(site))
        assert (await site.send("GET", site.keys_path)).status == 200
        status, checks = await _readyz(site)
        assert status == 503
        assert "the database is read-only" in checks["postgres"]
        await postgres.execute("SET default_transaction_read_only = off")
        await postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert (await _readyz(site))[0] == 200  # the check has replaced the connections
        assert await _creates(site)


async def _is_refused(site: Site) -> bool:
    pool = site.service.database._pool
    assert pool is not None
    await pool.expire_connections()
    return (await site.create({"name": "x"})).status == 503


async def test_migrate_rejects_a_database_that_is_not_in_utf8(servers: Servers, admin: Postgres) -> None:
    """It names the encoding and changes nothing."""
    await admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    connection = await asyncpg.connect(servers.postgres.url.rpartition("/")[0] + "/latin")
    with pytest.raises(SchemaError, match="the database has the encoding LATIN1"):
        await migrate(connection)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()
    await admin.execute("DROP DATABASE latin")
