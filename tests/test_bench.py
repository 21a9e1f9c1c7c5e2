"""The benchmark parses responses and calculates statistics correctly."""

import asyncio
import itertools
import math
import re
from collections.abc import Sequence
from contextlib import suppress

import pytest

from bench.calculations import Spread, bucket_quantile, quantile, ratios, spread
from bench.closed_loop import Load, Plan, _measure
from bench.load_client import LoadConnection, ResponseError, connect, parse_response
from bench.report import Goal, Row, table
from testkit.http_client import request_bytes

_RESPONSE = b'HTTP/1.1 201 Created\r\nServer: x\r\nContent-Length: 10\r\nVary: Cookie\r\n\r\n{"id":"a"}'


def test_a_response_is_parsed_when_it_is_complete() -> None:
    """Every prefix of a response is incomplete."""
    assert parse_response(_RESPONSE) == (b"201", b'{"id":"a"}')
    assert {parse_response(_RESPONSE[:length]) for length in range(len(_RESPONSE))} == {None}


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"CONTENT-LENGTH"])
def test_the_header_name_is_case_insensitive(name: bytes) -> None:
    """The length is the last header, and the body is empty."""
    assert parse_response(b"HTTP/1.1 204 No Content\r\n" + name + b": 0\r\n\r\n") == (b"204", b"")


@pytest.mark.parametrize(
    "received",
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", _RESPONSE + b"H", _RESPONSE * 2],
)
def test_received_bytes_other_than_one_response_are_an_error(received: bytes) -> None:
    """A load generator that miscounts responses would report a wrong rate."""
    with pytest.raises(ResponseError):
        parse_response(received)


def test_a_request_has_a_head_and_a_body() -> None:
    """The head contains the length of the body."""
    request = request_bytes("POST", "/x/", token="t", body=b"{}")
    head, body = request.split(b"\r\n\r\n")
    assert head.startswith(b"POST /x/ HTTP/1.1\r\n")
    assert b"Authorization: Bearer t" in head
    assert b"Content-Length: 2" in head
    assert body == b"{}"


async def _exchange(response: bytes) -> bytes:
    """Send a request to a server that responds with these bytes in two pieces; return the body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (response[:30], response[30:]):
            writer.write(piece)
            await writer.drain()
        writer.close()

    outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    client = LoadConnection(
        expected=201,
        on_response=lambda _, body: outcome.set_result(body),
        on_failure=lambda error: None if outcome.done() else outcome.set_exception(error),
    )
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        await connect(port, client)
        client.send(request_bytes("GET", "/", token="t"))
        async with asyncio.timeout(5):
            return await outcome


async def test_a_connection_returns_the_body() -> None:
    """The response arrives in two pieces over a socket."""
    assert await _exchange(_RESPONSE) == b'{"id":"a"}'


@pytest.mark.parametrize("response", [_RESPONSE.replace(b"201", b"503"), _RESPONSE[:40]])
async def test_another_status_or_a_broken_connection_is_a_failure(response: bytes) -> None:
    """Only the expected response is counted."""
    with pytest.raises(ResponseError):
        await _exchange(response)


def test_a_spread_is_median_minimum_and_maximum() -> None:
    """The median of an even number of values is the mean of the middle two."""
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([1.0, 2.0, 3.0, 10.0]).median == 2.5


def test_ratios_compare_values_of_one_round() -> None:
    """Load from other programs affects both values of a round alike."""
    assert ratios([50.0, 100.0], [100.0, 200.0]) == [0.5, 0.5]


def test_a_quantile_is_one_of_the_values() -> None:
    """The p99 of a hundred values is the largest."""
    values = [float(number) for number in range(100)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50.0, 99.0, 7.0)


def test_quantiles_of_a_histogram_are_interpolated() -> None:
    """Ten values up to 1, ten between 2 and 3, one above all bounds."""
    bounds, counts = [1.0, 2.0, 3.0, math.inf], [10.0, 10.0, 20.0, 20.0]
    assert bucket_quantile(bounds, counts, 0.25) == 0.5
    assert bucket_quantile(bounds, counts, 0.75) == 2.5
    assert bucket_quantile(bounds, [10.0, 10.0, 20.0, 21.0], 1) == math.inf
    with pytest.raises(ValueError, match="empty"):
        bucket_quantile(bounds, [0.0] * 4, 0.5)


async def _load(statuses: Sequence[int], *, refusals: bool) -> Load:
    """Run two connections against a server that responds with these statuses in turn, each after 5 ms."""
    responses, closed = itertools.cycle(statuses), list[asyncio.Future[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed.append(done := asyncio.get_running_loop().create_future())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0.005)
                writer.write(b"HTTP/1.1 %d Status\r\nContent-Length: 0\r\n\r\n" % next(responses))
        writer.close()
        done.set_result(None)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        requests = [request_bytes("GET", "/", token="t").decode()]
        try:
            return await _measure(Plan(port, requests, 201, 2, 0.1, refusals=refusals))
        finally:
            await asyncio.wait(closed, timeout=5)


async def test_a_closed_loop_counts_responses_and_refusals() -> None:
    """Each with its time; the loop ends after the last response."""
    load = await _load([201, 503], refusals=True)
    assert load.responses > 0
    assert load.refused > 0
    assert 0.005 <= load.p50 <= load.p99 <= load.seconds
    assert 0.005 <= load.refused_p99 <= load.seconds


async def test_a_refusal_is_a_failure_where_none_is_expected() -> None:
    """A rate must not contain other responses."""
    with pytest.raises(ResponseError, match="503"):
        await _load([201, 503], refusals=False)


def test_the_table_shows_median_ratio_and_verdict() -> None:
    """Columns are aligned, thousands are separated, a missed goal is marked."""
    good = Row(
        "good",
        [1000.0, 3000.0, 2000.0],
        ratios=[0.5, 0.7, 0.6],
        goal=Goal(0.6),
        costs={"server": [99.6]},
        cost_ratios=[0.4],
        cost_goal=Goal(0.5, at_least=False),
    )
    bad = Row("bad", [20.0], goal=Goal(10, at_least=False))
    heading, first, second = table([good, bad]).splitlines()
    assert re.split("  +", first)[:7] == [
        "good",
        "2 000",
        "1 000-3 000",
        "0.60",
        "0.50-0.70",
        "≥ 0.6 reached",
        "100",
    ]
    assert first.endswith("0.40  0.40-0.40  < 0.5 reached")
    assert re.split("  +", second) == ["bad", "20.0", "20.0-20.0", "< 10 MISSED"]
    assert heading.index("median") + len("median") == first.index("2 000") + len("2 000")
