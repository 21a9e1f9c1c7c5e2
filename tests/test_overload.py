"""Requests beyond MAX_REQUESTS are refused immediately and do not delay the admitted ones."""

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
async def _full(settings: Settings, *, max_requests: int = 1) -> AsyncIterator[tuple[Site, asyncio.Event]]:
    """A site where creates wait until the event is set; one create is waiting and occupies a slot."""
    changed = replace(settings, max_requests=max_requests, lock_timeout=9.0, statement_timeout=9.0)
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
            await poll_until(lambda: _in_flight(site, 1))
            yield site, done
            done.set()
        assert first.result().status == 201


async def _in_flight(site: Site, number: int) -> bool:
    return site.server.admission.in_flight == number


async def test_a_request_beyond_the_limit_is_refused_immediately(settings: Settings) -> None:
    """On every route, with the common headers; the admitted request succeeds."""
    async with _full(settings) as (site, _):
        started = time.monotonic()
        async with storing_nothing(site):
            responses = [
                await site.send(method, path)
                for method, path in (("POST", site.keys_path), ("GET", site.keys_path), ("GET", "/nowhere/"))
            ]
        assert time.monotonic() - started < 4, "a refused client delays only its own connection"
        assert {(response.status, response.headers["Retry-After"]) for response in responses} == {(503, "1")}
        assert all(response.body == _BUSY for response in responses)
        assert all(response.headers["Server"] == "projectkeys" for response in responses)
        assert len({response.headers["X-Request-Id"] for response in responses}) == 3


async def test_simultaneous_requests_do_not_share_a_slot(settings: Settings) -> None:
    """A free slot is occupied without a suspension in between: two requests of a burst are admitted."""
    async with _full(settings, max_requests=3) as (site, done):
        port, number = site.service.settings.port, 30
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]
        head = f"POST {site.keys_path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {site.token}\r\n"
        for _, writer in connections:
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        first = [asyncio.create_task(reader.readline()) for reader, _ in connections]
        await poll_until(lambda: asyncio.sleep(0, result=sum(line.done() for line in first) == number - 2))
        assert await _in_flight(site, 3)
        done.set()
        statuses = sorted([(await line).split()[1] for line in first])
        assert statuses == [b"201"] * 2 + [b"503"] * (number - 2)
        for _, writer in connections:
            writer.close()


async def test_a_refused_connection_is_read_again_when_a_slot_is_free(settings: Settings) -> None:
    """Until then, or for the time in Retry-After, its next request is not read."""
    async with _full(settings) as (site, done):
        request = f"GET {site.keys_path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {site.token}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
        writer.write(request.encode() * 2)
        assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        started = time.monotonic()
        assert (await _next_status(reader)).startswith(b"HTTP/1.1 503 ")
        assert time.monotonic() - started > 0.9, "Retry-After is 1"
        writer.write(request.encode())
        await asyncio.sleep(0.1)
        done.set()
        started = time.monotonic()
        assert (await _next_status(reader)).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - started < 0.8
        writer.close()


async def _next_status(reader: asyncio.StreamReader) -> bytes:
    while not (line := await reader.readline()).startswith((b"HTTP/1.1", b"{")) or line.startswith(b"{"):
        found = line.find(b"HTTP/1.1 ")
        if found > 0:
            return line[found:]
    return line


async def test_bytes_that_are_not_http_are_400_without_a_free_slot(settings: Settings) -> None:
    """The connection is closed."""
    async with _full(settings) as (site, _):
        assert (await site.exchange(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.0 400 ")


async def test_a_request_that_waits_for_kafka_occupies_no_slot(settings: Settings) -> None:
    """Kafka's failure must not fail requests that do not wait for it; MAX_REQUESTS also limits those that wait."""
    async with open_site(replace(settings, max_requests=1)) as site:
        waiting = asyncio.create_task(site.create({}, headers={"Prefer": "wait=4"}))
        await poll_until(lambda: _waiting(site))
        plain = await site.create({})
        assert (plain.status, plain.headers["Event-Status"]) == (201, "pending")
        beyond_limit = await site.create({}, headers={"Prefer": "wait=4"})
        assert (beyond_limit.status, beyond_limit.headers["Event-Status"]) == (201, "pending")
        assert not waiting.done()
        assert (await waiting).status == 201
        assert (site.server.admission.in_flight, site.server.admission.free) == (0, 1)


async def _waiting(site: Site) -> bool:
    return (site.server.admission.in_flight, site.server.admission.free) == (1, 1)


@pytest.fixture
async def refused(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[AdmissionControl, list[asyncio.Task[None]]]]:
    """Admission control without a free slot and 100 refused requests whose Retry-After is 0."""
    monkeypatch.setattr(admission, "_RETRY_AFTER", 0.0)
    full = AdmissionControl(1)
    assert full.try_acquire()
    waits = [asyncio.create_task(full.defer_refused()) for _ in range(100)]
    await asyncio.sleep(0)
    running = asyncio.create_task(full.run())
    yield full, waits
    running.cancel()
    full.close()
    await asyncio.gather(*waits, return_exceptions=True)


async def test_refused_connections_are_released_in_batches(
    refused: tuple[AdmissionControl, list[asyncio.Task[None]]],
) -> None:
    """In their order; refusing all of them again at the same time would delay the admitted requests."""
    _, waits = refused
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    assert [wait.done() for wait in waits] == [True] * 20 + [False] * 80


async def test_refusals_are_paced() -> None:
    """All at the same time would delay the admitted requests; a queued request is admitted if a slot becomes free."""
    full = AdmissionControl(1)
    assert full.try_acquire()
    requests = [asyncio.create_task(full.acquire()) for _ in range(120)]
    await asyncio.sleep(0)
    assert [request.done() for request in requests] == [True] * 50 + [False] * 70
    running = asyncio.create_task(full.run())
    await asyncio.wait(requests[50:], return_when=asyncio.FIRST_COMPLETED)
    assert [request.done() for request in requests] == [True] * 100 + [False] * 20
    full.release()
    await asyncio.wait(requests)
    assert [request.result() for request in requests] == [False] * 100 + [True] + [False] * 19
    running.cancel()


async def test_shutdown_ends_all_waits(
    refused: tuple[AdmissionControl, list[asyncio.Task[None]]],
) -> None:
    """Those that have started and those that start afterwards."""
    full, waits = refused
    full.close()
    async with asyncio.timeout(1):
        await asyncio.gather(*waits, full.defer_refused())


async def test_a_connection_beyond_the_limit_is_closed_immediately(settings: Settings) -> None:
    """Open connections continue; when one of them ends, a new one is accepted."""
    async with open_site(replace(settings, max_connections=10)) as site:
        port = site.service.settings.port
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]  # and one of the site's session
        assert await site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        assert (await site.send("GET", site.keys_path)).status == 200
        held.pop()[1].close()
        request = b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        await poll_until(lambda: _is_accepted(site, request))
        for _, writer in held:
            writer.close()


async def _is_accepted(site: Site, request: bytes) -> bool:
    return (await site.exchange(request)).startswith(b"HTTP/1.1 404 ")
