"""Bodies that arrive slowly occupy no slots, and one token cannot use up their limit."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from service.domain.errors import BusyError
from service.domain.scopes import SCOPES
from service.http.server.admission import AdmissionControl
from service.http.server.arriving_bodies import ArrivingBodies
from service.settings import Settings
from testkit.polling import poll_until
from tests.http_service import Site, open_site

_KIB = 1024
_BODY = b'{"name": "slow"}'
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _creates_without_body(site: Site, token: str, number: int) -> AsyncIterator[list[_Streams]]:
    """Connections on which the head of a create was sent."""
    head = (
        f"POST {site.keys_path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
    )
    port = site.service.settings.port
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]
    for _, writer in opened:
        writer.write(head.encode())
    yield opened
    for _, writer in opened:
        writer.close()


async def _arriving(site: Site, number: int) -> bool:
    return len(site.server.arriving) == number


async def test_slow_bodies_of_one_token_do_not_refuse_another_one(settings: Settings) -> None:
    """As many bodies as slots, of a token with a rate limit: requests of another token are handled immediately."""
    async with open_site(replace(settings, max_requests=20)) as site:
        token = await site.service.use_cases.tokens.create("slow", scopes=SCOPES, rate_limit=50)
        async with _creates_without_body(site, token, 20) as slow:
            await poll_until(lambda: _arriving(site, 20))
            started = time.monotonic()
            responses = [await site.create({}), await site.send("GET", site.keys_path)]
            assert [response.status for response in responses] == [201, 200]
            assert time.monotonic() - started < 2
            assert responses[1].headers["X-Sentry-Rate-Limit-ConcurrentRemaining"] == "20"
            for _, writer in slow:
                writer.write(_BODY)
            assert {(await reader.readline()).split()[1] for reader, _ in slow} == {b"201"}


async def test_a_token_has_a_share_of_the_arriving_bodies(settings: Settings) -> None:
    """A quarter of ARRIVING_LIMIT; beyond it 503, while another token's body may still arrive."""
    async with open_site(replace(settings, arriving_limit=8 * 16 * _KIB)) as site:
        other = await site.new_token()
        async with _creates_without_body(site, site.token, 2):
            await poll_until(lambda: _arriving(site, 2))
            async with _creates_without_body(site, site.token, 1) as [(reader, _)]:
                assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
            async with _creates_without_body(site, other, 1) as [(reader, writer)]:
                await poll_until(lambda: _arriving(site, 3))
                writer.write(_BODY)
                assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
        await poll_until(lambda: _arriving(site, 0))


def test_all_bodies_together_have_a_limit() -> None:
    """Four tokens use it up; a single body of any size is admitted, and bodies that have arrived do not count."""
    bodies = ArrivingBodies(64 * _KIB, AdmissionControl(1))
    with bodies.admit(1, 10), bodies.admit(2, 10), bodies.admit(3, 10):
        with bodies.admit(4, 10), pytest.raises(BusyError), bodies.admit(5, 10):
            pass
        with pytest.raises(BusyError), bodies.admit(1, 10):
            pass
        with bodies.admit(5, 10):
            pass
    with bodies.admit(1, 1024 * _KIB):
        pass


def test_a_request_whose_body_has_arrived_needs_a_slot() -> None:
    """Its own was free for others; without a free slot it is refused as a new request is."""
    admission = AdmissionControl(1)
    bodies = ArrivingBodies(64 * _KIB, admission)
    assert admission.try_acquire()
    with bodies.admit(1, 10):
        assert admission.free == 1
    assert admission.free == 0
    with pytest.raises(BusyError), bodies.admit(1, 10):
        assert admission.try_acquire()
    assert len(bodies) == 0
