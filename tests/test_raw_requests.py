"""Raw bytes on a socket: an error response or a closed connection within 2 seconds, and a service that continues."""

import asyncio
import itertools
import re
import time

import orjson
import pytest

from testkit.polling import poll_until
from tests.http_service import Site, stored, storing_nothing, with_more_keys
from tests.raw_requests import BODY, Raw, Target, accepted, rejected

_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")
_WITHIN = 2.0
"""Seconds."""


def _named(name: str, target: Target) -> Raw:
    return next(raw for raw in itertools.chain(rejected(target), accepted(target)) if raw.name == name)


_NOWHERE = Target("/", "")
_REJECTED = [raw.name for raw in rejected(_NOWHERE)]
_ACCEPTED = [raw.name for raw in accepted(_NOWHERE)]


def _target(site: Site) -> Target:
    return Target(site.keys_path, site.token)


async def _exchange(site: Site, request: bytes) -> bytes:
    """Return all received bytes; fail if the service does not close the connection in time."""
    started = time.monotonic()
    received = await site.exchange(request)
    assert time.monotonic() - started < _WITHIN
    return received


async def _works(site: Site) -> bool:
    return (await site.send("GET", site.keys_path)).status == 200


@pytest.mark.parametrize("name", _REJECTED)
async def test_a_malformed_request_is_400_and_stores_nothing(site: Site, name: str) -> None:
    """One response that repeats nothing of the request; what follows on the connection is not read."""
    case = _named(name, _target(site))
    async with storing_nothing(site):
        received = await _exchange(site, case.request)
    assert [int(status) for status in _STATUS_LINE.findall(received)] == [400]
    head, _, body = received.partition(b"\r\n\r\n")
    assert orjson.loads(body) == {"detail": "The request is not valid HTTP."}
    assert b"X-Request-Id: " in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert await _works(site)


@pytest.mark.parametrize("name", _ACCEPTED)
async def test_an_unusual_request_gets_one_response(site: Site, name: str) -> None:
    """With one of the expected statuses; it creates at most one key."""
    case, before = _named(name, _target(site)), await stored(site)
    received = await _exchange(site, case.request)
    statuses = [int(status) for status in _STATUS_LINE.findall(received)]
    assert len(statuses) == 1
    assert statuses[0] in case.statuses
    assert b"elsewhere.example" not in received, "links do not depend on hosts in the request"
    assert b"\nX: y" not in received
    assert await stored(site) == with_more_keys(before, statuses.count(201))
    assert await _works(site)


async def test_pipelined_requests_are_handled_in_order(site: Site) -> None:
    """100 requests on one connection, half of them with a body."""
    target = _target(site)
    keep = target.head(f"Content-Length: {len(BODY)}").replace(b"Connection: close\r\n", b"") + BODY
    read = target.get("/nowhere/").replace(b"Connection: close\r\n", b"")
    received = await site.exchange((keep + read) * 50 + target.get(target.path))
    assert [int(status) for status in _STATUS_LINE.findall(received)] == [201, 404] * 50 + [200]


async def test_a_smuggled_request_is_not_handled(site: Site) -> None:
    """A request in the body of another one whose end is ambiguous."""
    target = _target(site)
    hidden = target.head(f"Content-Length: {len(BODY)}") + BODY
    async with storing_nothing(site):
        for lines in (
            ("Transfer-Encoding: chunked", "Content-Length: 4"),
            ("Content-Length: 4", "Transfer-Encoding: chunked"),
            ("Content-Length: 0", f"Content-Length: {len(hidden)}"),
            ("Transfer-Encoding: xchunked", f"Content-Length: {len(hidden)}"),
        ):
            received = await _exchange(site, target.head(*lines) + b"0\r\n\r\n" + hidden)
            assert [int(status) for status in _STATUS_LINE.findall(received)] == [400]


async def test_a_half_closed_connection_gets_its_response_or_is_closed(site: Site) -> None:
    """After a whole request, after half a head, after half a body."""
    target = _target(site)
    whole = target.get(target.path)
    for request in (whole, whole[:40], target.head("Content-Length: 100") + BODY, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(_WITHIN):
            received = await reader.read()
        assert not received or received.startswith(b"HTTP/1.1 200 ")
        writer.close()
    assert await _works(site)


async def test_a_thousand_aborted_connections_leave_nothing(site: Site) -> None:
    """In the head, in the body, and before the response; each created key is complete, and no error is counted."""
    target = _target(site)
    create = target.head(f"Content-Length: {len(BODY)}") + BODY
    before = await stored(site)
    for round_ in range(20):
        await asyncio.gather(*(_send_and_abort(site, create[: len(create) - 7 * number]) for number in range(50)))
        assert await _works(site), round_
    # Connections are read in order: by now all requests have been read.
    assert (await site.exchange(target.get(target.path))).startswith(b"HTTP/1.1 200 ")
    await poll_until(lambda: asyncio.sleep(0, result=not site.server.admission.in_flight))
    after = await stored(site)
    created = after["keys"] - before["keys"]
    assert after == with_more_keys(before, created)
    assert created <= 20
    samples = [sample for family in site.service.registry.collect() for sample in family.samples]
    statuses = {sample.labels["status"] for sample in samples if sample.labels.get("method") == "POST"}
    assert "400" in statuses
    assert "500" not in statuses  # a client that disconnects is no error of the service


async def _send_and_abort(site: Site, request: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
    writer.write(request)
    await writer.drain()
    writer.transport.abort()
