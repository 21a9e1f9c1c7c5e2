"""More requests than there is room for: told so at once, and kept from taking the time of the accepted ones."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from service.http.server import admission
from service.http.server.admission import AdmissionControl
from service.settings import Settings
from testkit.polling import poll_until
from tests.http_service import Site, open_site, storing_nothing

_BUSY = {"detail": "The service is busy. Try again."}


@asynccontextmanager
async def _full(settings: Settings, *, room_for: int = 1) -> AsyncIterator[tuple[Site, asyncio.Event]]:
    """A site where creates wait until the event is set; one does, which without more room takes all of it."""
    changed = replace(settings, max_requests=room_for, lock_timeout=9.0, statement_timeout=9.0)
    async with open_site(changed) as site:
        done = asyncio.Event()
        locked = asyncio.Event()

        async def lock() -> None:
            async with site.postgres.transaction():
                await site.postgres.execute("SELECT FROM project FOR UPDATE")
                locked.set()
                await done.wait()

        async with asyncio.TaskGroup() as group:
            group.create_task(lock())
            await locked.wait()
            first = group.create_task(site.create({"name": "first"}))
            await poll_until(lambda: _taken(site, 1))
            yield site, done
            done.set()
        assert first.result().status == 201


async def _taken(site: Site, number: int) -> bool:
    return site.server.admission.in_flight == number


async def test_a_request_beyond_the_room_is_refused_at_once(settings: Settings) -> None:
    """Whatever it asks for; with the headers of every answer; the accepted one is done all the same."""
    async with _full(settings) as (site, _):
        began = time.monotonic()
        async with storing_nothing(site):
            answers = [
                await site.send(method, path)
                for method, path in (("POST", site.keys_path), ("GET", site.keys_path), ("GET", "/nowhere/"))
            ]
        assert time.monotonic() - began < 4, "each client waits for its second alone, on its own connection"
        assert {(answer.status, answer.headers["Retry-After"]) for answer in answers} == {(503, "1")}
        assert all(answer.body == _BUSY for answer in answers)
        assert all(answer.headers["Server"] == "projectkeys" for answer in answers)
        assert len({answer.headers["X-Request-Id"] for answer in answers}) == 3


async def test_those_who_come_in_the_same_moment_do_not_share_a_place(settings: Settings) -> None:
    """A place is taken in the step that finds it: of a burst on open connections two find room, and no more."""
    async with _full(settings, room_for=3) as (site, done):
        port, number = site.service.settings.port, 30
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]
        head = f"POST {site.keys_path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {site.token}\r\n"
        for _, writer in connections:
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        first = [asyncio.create_task(reader.readline()) for reader, _ in connections]
        await poll_until(lambda: asyncio.sleep(0, result=sum(one.done() for one in first) == number - 2))
        assert await _taken(site, 3)
        done.set()
        statuses = sorted([(await one).split()[1] for one in first])
        assert statuses == [b"201"] * 2 + [b"503"] * (number - 2)
        for _, writer in connections:
            writer.close()


async def test_whoever_comes_again_too_soon_is_heard_when_there_is_room(settings: Settings) -> None:
    """The next request on a connection that was refused is not read before; then it is answered as any other."""
    async with _full(settings) as (site, done):
        request = f"GET {site.keys_path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {site.token}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
        writer.write(request.encode() * 2)
        assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        began = time.monotonic()
        assert (await _next_status(reader)).startswith(b"HTTP/1.1 503 ")
        assert time.monotonic() - began > 0.9, "a second was asked for"
        writer.write(request.encode())
        await asyncio.sleep(0.1)
        done.set()
        began = time.monotonic()
        assert (await _next_status(reader)).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < 0.8
        writer.close()


async def _next_status(reader: asyncio.StreamReader) -> bytes:
    while not (line := await reader.readline()).startswith((b"HTTP/1.1", b"{")) or line.startswith(b"{"):
        found = line.find(b"HTTP/1.1 ")
        if found > 0:
            return line[found:]
    return line


async def test_bytes_that_are_no_request_are_refused_as_such_also_without_room(settings: Settings) -> None:
    """400 and the end of the connection."""
    async with _full(settings) as (site, _):
        assert (await site.exchange(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.0 400 ")


async def test_whoever_waits_for_kafka_takes_no_room(settings: Settings) -> None:
    """Kafka being away must not fail those who do not wait; as many may wait as may be answered."""
    async with open_site(replace(settings, max_requests=1)) as site:
        waiting = asyncio.create_task(site.create({}, headers={"Prefer": "wait=4"}))
        await poll_until(lambda: _waiting(site))
        plain = await site.create({})
        assert (plain.status, plain.headers["Event-Status"]) == (201, "pending")
        one_too_many = await site.create({}, headers={"Prefer": "wait=4"})
        assert (one_too_many.status, one_too_many.headers["Event-Status"]) == (201, "pending")
        assert not waiting.done()
        assert (await waiting).status == 201
        assert (site.server.admission.in_flight, site.server.admission.free) == (0, 1)


async def _waiting(site: Site) -> bool:
    return (site.server.admission.in_flight, site.server.admission.free) == (1, 1)


@pytest.fixture
async def crowd(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[AdmissionControl, list[asyncio.Task[None]]]]:
    """A full room and a hundred who were turned away, whose time is over at once."""
    monkeypatch.setattr(admission, "_RETRY_AFTER", 0.0)
    full = AdmissionControl(1)
    assert full.try_acquire()
    turned_away = [asyncio.create_task(full.defer_refused()) for _ in range(100)]
    await asyncio.sleep(0)
    hearing = asyncio.create_task(full.run())
    yield full, turned_away
    hearing.cancel()
    full.close()
    await asyncio.gather(*turned_away, return_exceptions=True)


async def test_only_so_many_are_heard_at_a_time(
    crowd: tuple[AdmissionControl, list[asyncio.Task[None]]],
) -> None:
    """In their order; refusing them all at once would take the time of the accepted one."""
    _, turned_away = crowd
    await asyncio.wait(turned_away, return_when=asyncio.FIRST_COMPLETED)
    assert [one.done() for one in turned_away] == [True] * 20 + [False] * 80


async def test_a_crowd_is_refused_one_after_the_other() -> None:
    """All at once would hold up the accepted ones; who stands in line gets in if there is room by then."""
    full = AdmissionControl(1)
    assert full.try_acquire()
    crowd = [asyncio.create_task(full.acquire()) for _ in range(120)]
    await asyncio.sleep(0)
    assert [one.done() for one in crowd] == [True] * 50 + [False] * 70
    hearing = asyncio.create_task(full.run())
    await asyncio.wait(crowd[50:], return_when=asyncio.FIRST_COMPLETED)
    assert [one.done() for one in crowd] == [True] * 100 + [False] * 20
    full.release()
    await asyncio.wait(crowd)
    assert [one.result() for one in crowd] == [False] * 100 + [True] + [False] * 19
    hearing.cancel()


async def test_the_end_of_the_process_keeps_nobody_waiting(
    crowd: tuple[AdmissionControl, list[asyncio.Task[None]]],
) -> None:
    """Neither those who wait nor those who come then."""
    full, turned_away = crowd
    full.close()
    async with asyncio.timeout(1):
        await asyncio.gather(*turned_away, full.defer_refused())


async def test_a_connection_beyond_the_limit_is_closed_at_once(settings: Settings) -> None:
    """Those that are there go on, and as soon as one of them ends there is place for another."""
    async with open_site(replace(settings, max_connections=10)) as site:
        port = site.service.settings.port
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]  # and the site's own
        assert await site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        assert (await site.send("GET", site.keys_path)).status == 200
        held.pop()[1].close()
        request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        await poll_until(lambda: _is_answered(site, request))
        for _, writer in held:
            writer.close()


async def _is_answered(site: Site, request: bytes) -> bool:
    return (await site.exchange(request)).startswith(b"HTTP/1.1 404 ")
