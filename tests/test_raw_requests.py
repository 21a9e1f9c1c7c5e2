"""Bytes on a bare socket: a refusal in the API's form or a closed connection, soon, and a service that goes on."""

import asyncio
import itertools
import re
import time

import orjson
import pytest

from testkit.polling import poll_until
from tests.http_service import Site, stored, storing_nothing, with_more_keys
from tests.raw_requests import BODY, Raw, Target, answered, refused

_ANSWER = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")
_SOON = 2.0
"""Seconds."""


def _named(name: str, at: Target) -> Raw:
    return next(one for one in itertools.chain(refused(at), answered(at)) if one.name == name)


_NOWHERE = Target("/", "")
_REFUSED = [one.name for one in refused(_NOWHERE)]
_ANSWERED = [one.name for one in answered(_NOWHERE)]


def _target(site: Site) -> Target:
    return Target(site.keys_path, site.token)


async def _all_of(site: Site, request: bytes) -> bytes:
    """All that comes back; fails if the service has not closed the connection soon."""
    began = time.monotonic()
    got = await site.exchange(request)
    assert time.monotonic() - began < _SOON
    return got


async def _goes_on(site: Site) -> bool:
    return (await site.send("GET", site.keys_path)).status == 200


@pytest.mark.parametrize("name", _REFUSED)
async def test_what_is_no_proper_request_is_refused_and_stores_nothing(site: Site, name: str) -> None:
    """400 once, in the API's form, without a word of what was sent; whatever follows on it is not read."""
    case = _named(name, _target(site))
    async with storing_nothing(site):
        got = await _all_of(site, case.request)
    assert [int(one) for one in _ANSWER.findall(got)] == [400]
    head, _, body = got.partition(b"\r\n\r\n")
    assert orjson.loads(body) == {"detail": "The request is not valid HTTP."}
    assert b"X-Request-Id: " in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert await _goes_on(site)


@pytest.mark.parametrize("name", _ANSWERED)
async def test_what_is_unusual_is_answered_once(site: Site, name: str) -> None:
    """By its status; no more than one key comes of it."""
    case, before = _named(name, _target(site)), await stored(site)
    got = await _all_of(site, case.request)
    statuses = [int(one) for one in _ANSWER.findall(got)]
    assert len(statuses) == 1
    assert statuses[0] in case.statuses
    assert b"elsewhere.example" not in got, "what a caller says of hosts makes no link"
    assert b"\nX: y" not in got
    assert await stored(site) == with_more_keys(before, statuses.count(201))
    assert await _goes_on(site)


async def test_pipelined_requests_are_answered_in_their_order(site: Site) -> None:
    """A hundred on one connection, bodies among them, in one piece and byte by byte."""
    at = _target(site)
    keep = at.head(f"Content-Length: {len(BODY)}").replace(b"Connection: close\r\n", b"") + BODY
    read = at.get("/nowhere/").replace(b"Connection: close\r\n", b"")
    got = await site.exchange((keep + read) * 50 + at.get(at.path))
    assert [int(one) for one in _ANSWER.findall(got)] == [201, 404] * 50 + [200]


async def test_a_smuggled_request_is_never_seen(site: Site) -> None:
    """A second one hidden in the body of a first whose end two servers could see at two places."""
    at = _target(site)
    hidden = at.head(f"Content-Length: {len(BODY)}") + BODY
    async with storing_nothing(site):
        for lines in (
            ("Transfer-Encoding: chunked", "Content-Length: 4"),
            ("Content-Length: 4", "Transfer-Encoding: chunked"),
            ("Content-Length: 0", f"Content-Length: {len(hidden)}"),
            ("Transfer-Encoding: xchunked", f"Content-Length: {len(hidden)}"),
        ):
            got = await _all_of(site, at.head(*lines) + b"0\r\n\r\n" + hidden)
            assert [int(one) for one in _ANSWER.findall(got)] == [400]


async def test_who_says_no_more_is_answered_or_let_go(site: Site) -> None:
    """A connection whose other half is closed: after a whole request, after half a head, after half a body."""
    at = _target(site)
    whole = at.get(at.path)
    for request in (whole, whole[:40], at.head("Content-Length: 100") + BODY, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(_SOON):
            got = await reader.read()
        assert not got or got.startswith(b"HTTP/1.1 200 ")
        writer.close()
    assert await _goes_on(site)


async def test_a_thousand_connections_that_break_off_leave_nothing(site: Site) -> None:
    """In the head, in the body, and before the answer; each key that came of it is whole, and no fault is told."""
    at = _target(site)
    create = at.head(f"Content-Length: {len(BODY)}") + BODY
    before = await stored(site)
    for round_ in range(20):
        await asyncio.gather(*(_break_off(site, create[: len(create) - 7 * number]) for number in range(50)))
        assert await _goes_on(site), round_
    # Those who come later are heard later: now all of them are answered or being answered.
    assert (await site.exchange(at.get(at.path))).startswith(b"HTTP/1.1 200 ")
    await poll_until(lambda: asyncio.sleep(0, result=not site.server.admission.in_flight))
    after = await stored(site)
    made = after["keys"] - before["keys"]
    assert after == with_more_keys(before, made)
    assert made <= 20
    samples = [one for family in site.service.registry.collect() for one in family.samples]
    statuses = {one.labels["status"] for one in samples if one.labels.get("method") == "POST"}
    assert "400" in statuses
    assert "500" not in statuses  # who goes is no fault of the service


async def _break_off(site: Site, request: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
    writer.write(request)
    await writer.drain()
    writer.transport.abort()
