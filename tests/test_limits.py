"""Each bound as a caller meets it: its answer, and that connection, pool and keys are afterwards as before."""

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
"""Seconds that a busy machine may add."""

_OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'projectkeys'"
_SLEEPING_KEYS = """
CREATE FUNCTION sleep_over() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(20); RETURN NEW; END';
CREATE TRIGGER sleep_over BEFORE INSERT ON project_key FOR EACH ROW WHEN (NEW.label = 'slow')
EXECUTE FUNCTION sleep_over();
"""


@asynccontextmanager
async def _limited(settings: Settings, **limits: Any) -> AsyncIterator[Site]:
    """A site with these settings that works, and works as well when the block has done its worst."""
    async with open_site(replace(settings, **limits)) as site:
        await _works(site)
        yield site
        await poll_until(lambda: _all_idle(site))
        await _works(site)


async def _works(site: Site) -> None:
    """A create on a new connection makes a key with its event and its audit entry."""
    before = await stored(site)
    assert (await site.create({"name": "good"})).status == 201
    after = await stored(site)
    assert after == {name: count + (name in _OF_A_CREATE) for name, count in before.items()}


_OF_A_CREATE = {"keys", "events", "audit_entries"}


async def _all_idle(site: Site) -> bool:
    """Nothing holds a connection, and none of them is in a transaction."""
    size, idle = site.service.database.sizes()
    busy = await site.postgres.fetchval(f"SELECT count(*) {_OURS} AND state <> 'idle'")
    return size == idle and busy == 0 and site.server.admission.in_flight == 0


def _told_to_come_again(answer: Response) -> bool:
    return (answer.status, answer.headers["Retry-After"], answer.body) == (503, "1", _BUSY)


async def test_a_request_that_takes_too_long_is_answered_in_its_time(settings: Settings) -> None:
    """What it began ends as a whole or not at all, and nothing is left behind it."""
    async with _limited(settings, request_timeout=_SHORT, lock_timeout=5.0, statement_timeout=5.0) as site:
        async with site.postgres.transaction():
            await site.postgres.execute("SELECT FROM project FOR UPDATE")
            began = time.monotonic()
            answer = await site.create({"name": "late"})
            assert time.monotonic() - began < _SHORT + _SLACK
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert answer.body == {"detail": "The request took too long. Try again."}
        await poll_until(lambda: _all_idle(site))
        counts = await stored(site)
        assert counts["keys"] == counts["events"]


async def test_a_body_that_does_not_arrive_is_408_and_ends_its_connection(settings: Settings) -> None:
    """Also one that promises to come in pieces, or asks first whether it may."""
    heads = ("Content-Length: 100", "Transfer-Encoding: chunked", "Content-Length: 9\r\nExpect: 100-continue")
    async with _limited(settings, body_timeout=_SHORT) as site, storing_nothing(site):
        began = time.monotonic()
        answers = await asyncio.gather(*(site.exchange(_head(site, one) + b"2\r\n") for one in heads))
        assert time.monotonic() - began < _SHORT + _SLACK
        for answer in answers:
            last = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert last.startswith(b"HTTP/1.1 408 ")
            assert last.endswith(b'{"detail":"The request body did not arrive in time."}')


async def test_a_body_that_is_too_large_is_413_and_ends_its_connection(settings: Settings) -> None:
    """At once where its length is told, when it has passed the limit where it is not; one byte less is read."""
    limit = 2048
    async with _limited(settings, body_limit=limit) as site:
        fits = b'{"name": "fits"}'.ljust(limit)
        assert (await site.post(fits)).status == 201
        async with storing_nothing(site):
            told = await site.exchange(_head(site, f"Content-Length: {limit + 1}"))
            untold = await site.exchange(_head(site, "Transfer-Encoding: chunked") + _chunk(fits + b" "))
        for answer in (told, untold):
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert answer.endswith(b'{"detail":"The request body is larger than 2048 bytes."}')


async def test_without_a_free_connection_of_the_pool_it_is_503_soon(settings: Settings) -> None:
    """All of them are held; by the moment that one comes free all is well."""
    limits = {"acquire_timeout": _SHORT, "database_pool_size": 2}
    async with _limited(settings, **limits) as site, AsyncExitStack() as held, storing_nothing(site):
        for _ in range(2):
            await held.enter_async_context(site.service.database.connection())
        began = time.monotonic()
        answers = await asyncio.gather(*(site.create({}) for _ in range(20)))
        assert time.monotonic() - began < _SHORT + _SLACK
        assert all(map(_told_to_come_again, answers))


async def test_a_statement_that_takes_too_long_is_ended_and_told(settings: Settings) -> None:
    """Nothing of it is stored, and no session of Postgres was lost by it."""
    async with _limited(settings, statement_timeout=_SHORT, database_pool_size=2) as site:
        await site.postgres.execute(_SLEEPING_KEYS)
        sessions = await _sessions(site)
        async with storing_nothing(site):
            began = time.monotonic()
            assert _told_to_come_again(await site.create({"name": "slow"}))
            assert time.monotonic() - began < _SHORT + _SLACK
        assert await _sessions(site) >= sessions


async def test_a_lock_that_does_not_come_free_is_told(settings: Settings) -> None:
    """A foreign session holds the row; nothing is stored, and no session of Postgres was lost by it."""
    async with _limited(settings, lock_timeout=_SHORT, database_pool_size=2) as site:
        sessions = await _sessions(site)
        async with storing_nothing(site), site.postgres.transaction():
            await site.postgres.execute("SELECT FROM project FOR UPDATE")
            began = time.monotonic()
            assert _told_to_come_again(await site.create({"name": "locked out"}))
            assert time.monotonic() - began < _SHORT + _SLACK
        assert await _sessions(site) >= sessions


async def test_a_connection_that_says_nothing_is_closed(settings: Settings) -> None:
    """Silent from the beginning, silent between requests, or with a head that comes byte by byte."""
    async with _limited(settings, keepalive_timeout=_SHORT) as site:
        began = time.monotonic()
        silent, half, between = await asyncio.gather(
            site.exchange(b""),
            site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "),
            site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        )
        assert time.monotonic() - began < _SHORT + _SLACK
        assert (silent, half) == (b"", b"")
        assert between.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("seconds", [_SHORT])
async def test_a_postgres_that_does_not_answer_is_503_soon(settings: Settings, seconds: float) -> None:
    """It takes the connection and says nothing: as far as a caller sees, it is as good as away."""
    async with (
        _limited(settings, acquire_timeout=seconds) as site,
        await asyncio.start_server(_say_nothing, "127.0.0.1", 0) as mute,
    ):
        address = mute.sockets[0].getsockname()[1]
        pool = site.service.database._pool
        assert pool is not None
        await pool.expire_connections()
        pool.set_connect_args(f"postgresql://u@127.0.0.1:{address}/d")
        began = time.monotonic()
        async with storing_nothing(site):
            assert _told_to_come_again(await site.create({}))
        assert time.monotonic() - began < seconds + _SLACK
        pool.set_connect_args(settings.database_url)


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def _head(site: Site, *lines: str) -> bytes:
    """The head of a create."""
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
    """The process ids of Postgres's ends of the pool's connections."""
    rows = await site.postgres.fetch(f"SELECT pid {_OURS}")
    return {row["pid"] for row in rows}
