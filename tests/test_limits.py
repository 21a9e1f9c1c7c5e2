"""Each limit as a client sees it: the response, and that connections, pool and keys are unaffected afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from service.settings import Settings
from testkit.polling import poll_until
from tests.http_service import Response, Site, open_site, stored, storing_nothing

_BUSY = {"detail": "The service is temporarily unavailable. Try again."}
_SHORT = 0.3
_SLACK = 2.0
"""Seconds of tolerance for a loaded machine."""

_OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'projectkeys'"
_SLEEPING_KEYS = """
CREATE FUNCTION sleep_over() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(20); RETURN NEW; END';
CREATE TRIGGER sleep_over BEFORE INSERT ON project_key FOR EACH ROW WHEN (NEW.label = 'slow')
EXECUTE FUNCTION sleep_over();
"""


@asynccontextmanager
async def _limited(settings: Settings, **limits: Any) -> AsyncIterator[Site]:
    """A site with these settings that creates a key before and after the block."""
    async with open_site(replace(settings, **limits)) as site:
        await _check_create(site)
        yield site
        await poll_until(lambda: _all_idle(site))
        await _check_create(site)


async def _check_create(site: Site) -> None:
    """Check that a create on a new connection stores a key, its event and its audit entry."""
    before = await stored(site)
    assert (await site.create({"name": "valid"})).status == 201
    after = await stored(site)
    assert after == {name: count + (name in _WRITTEN_BY_CREATE) for name, count in before.items()}


_WRITTEN_BY_CREATE = {"keys", "events", "audit_entries"}


async def _all_idle(site: Site) -> bool:
    """Return whether no request holds a connection and none of them is in a transaction."""
    size, idle = site.service.database.sizes()
    busy = await site.postgres.fetchval(f"SELECT count(*) {_OURS} AND state <> 'idle'")
    return size == idle and busy == 0 and site.server.admission.in_flight == 0


def _is_unavailable(response: Response) -> bool:
    return (response.status, response.headers["Retry-After"], response.body) == (503, "1", _BUSY)


async def test_a_request_beyond_its_timeout_is_503(settings: Settings) -> None:
    """Its transaction commits or rolls back, and no connection stays in use."""
    async with _limited(settings, request_timeout=_SHORT, lock_timeout=5.0, statement_timeout=5.0) as site:
        async with site.postgres.transaction():
            await site.postgres.execute("SELECT FROM project FOR UPDATE")
            started = time.monotonic()
            response = await site.create({"name": "late"})
            assert time.monotonic() - started < _SHORT + _SLACK
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            assert response.body == {"detail": "The request timed out. Try again."}
        await poll_until(lambda: _all_idle(site))
        counts = await stored(site)
        assert counts["keys"] == counts["events"]


async def test_a_body_that_does_not_arrive_is_408_and_closes_the_connection(settings: Settings) -> None:
    """Also a chunked body, and a body after 100 Continue."""
    heads = ("Content-Length: 100", "Transfer-Encoding: chunked", "Content-Length: 9\r\nExpect: 100-continue")
    async with _limited(settings, body_timeout=_SHORT) as site, storing_nothing(site):
        started = time.monotonic()
        responses = await asyncio.gather(*(site.exchange(_head(site, lines) + b"2\r\n") for lines in heads))
        assert time.monotonic() - started < _SHORT + _SLACK
        for response in responses:
            last = response.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert last.startswith(b"HTTP/1.1 408 ")
            assert last.endswith(b'{"detail":"The request body did not arrive in time."}')


async def test_a_body_that_is_too_large_is_413_and_closes_the_connection(settings: Settings) -> None:
    """Immediately if its length is declared, otherwise when it exceeds the limit; a body of the limit is read."""
    limit = 2048
    async with _limited(settings, body_limit=limit) as site:
        fits = b'{"name": "fits"}'.ljust(limit)
        assert (await site.post(fits)).status == 201
        async with storing_nothing(site):
            declared = await site.exchange(_head(site, f"Content-Length: {limit + 1}"))
            chunked = await site.exchange(_head(site, "Transfer-Encoding: chunked") + _chunk(fits + b" "))
        for response in (declared, chunked):
            assert response.startswith(b"HTTP/1.1 413 ")
            assert response.endswith(b'{"detail":"The request body is larger than 2048 bytes."}')


async def test_an_exhausted_pool_is_503_within_the_acquire_timeout(settings: Settings) -> None:
    """All connections are in use; requests succeed again when they are released."""
    limits = {"acquire_timeout": _SHORT, "database_pool_size": 2}
    async with _limited(settings, **limits) as site, AsyncExitStack() as held, storing_nothing(site):
        for _ in range(2):
            await held.enter_async_context(site.service.database.connection())
        started = time.monotonic()
        responses = await asyncio.gather(*(site.create({}) for _ in range(20)))
        assert time.monotonic() - started < _SHORT + _SLACK
        assert all(map(_is_unavailable, responses))


async def test_a_statement_beyond_its_timeout_is_cancelled_and_503(settings: Settings) -> None:
    """Nothing is stored, and the Postgres sessions stay open."""
    async with _limited(settings, statement_timeout=_SHORT, database_pool_size=2) as site:
        await site.postgres.execute(_SLEEPING_KEYS)
        sessions = await _sessions(site)
        async with storing_nothing(site):
            started = time.monotonic()
            assert _is_unavailable(await site.create({"name": "slow"}))
            assert time.monotonic() - started < _SHORT + _SLACK
        assert await _sessions(site) >= sessions


async def test_a_lock_beyond_its_timeout_is_503(settings: Settings) -> None:
    """Another session holds the row; nothing is stored, and the Postgres sessions stay open."""
    async with _limited(settings, lock_timeout=_SHORT, database_pool_size=2) as site:
        sessions = await _sessions(site)
        async with storing_nothing(site), site.postgres.transaction():
            await site.postgres.execute("SELECT FROM project FOR UPDATE")
            started = time.monotonic()
            assert _is_unavailable(await site.create({"name": "locked"}))
            assert time.monotonic() - started < _SHORT + _SLACK
        assert await _sessions(site) >= sessions


async def test_an_idle_connection_is_closed(settings: Settings) -> None:
    """Without any request, with an incomplete head, or between two requests."""
    async with _limited(settings, keepalive_timeout=_SHORT) as site:
        started = time.monotonic()
        silent, half, between = await asyncio.gather(
            site.exchange(b""),
            site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "),
            site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        )
        assert time.monotonic() - started < _SHORT + _SLACK
        assert (silent, half) == (b"", b"")
        assert between.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("seconds", [_SHORT])
async def test_a_postgres_that_does_not_respond_is_503_within_the_acquire_timeout(
    settings: Settings, seconds: float
) -> None:
    """It accepts the connection and sends nothing."""
    async with (
        _limited(settings, acquire_timeout=seconds) as site,
        await asyncio.start_server(_send_nothing, "127.0.0.1", 0) as silent_server,
    ):
        address = silent_server.sockets[0].getsockname()[1]
        database = site.service.database
        assert database._pool is not None
        await database._pool.expire_connections()
        database._read_url = lambda: f"postgresql://u@127.0.0.1:{address}/d"
        started = time.monotonic()
        async with storing_nothing(site):
            assert _is_unavailable(await site.create({}))
        assert time.monotonic() - started < seconds + _SLACK
        database._read_url = lambda: settings.database_url


async def _send_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def _head(site: Site, *lines: str) -> bytes:
    """Return the head of a create."""
    fixed = (
        f"POST {site.keys_path} HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {site.token}",
        "Content-Type: application/json",
    )
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def _chunk(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


async def _sessions(site: Site) -> set[int]:
    """Return the process ids of the Postgres sessions of the pool."""
    rows = await site.postgres.fetch(f"SELECT pid {_OURS}")
    return {row["pid"] for row in rows}
