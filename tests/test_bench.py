"""The benchmark's own parts: its client reads answers properly, its arithmetic is right."""

import asyncio
import math
import re

import pytest

from bench.client import AnswerError, Client, connect, parse, request
from bench.figures import Spread, bucket_quantile, quantile, ratios, spread
from bench.report import Goal, Row, table

_ANSWER = b'HTTP/1.1 201 Created\r\nServer: x\r\nContent-Length: 10\r\nVary: Cookie\r\n\r\n{"id":"a"}'


def test_an_answer_is_read_when_all_of_it_has_come() -> None:
    """Every shorter piece is waited for, wherever it is cut."""
    assert parse(_ANSWER) == (b"201", b'{"id":"a"}')
    assert {parse(_ANSWER[:length]) for length in range(len(_ANSWER))} == {None}


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"CONTENT-LENGTH"])
def test_the_length_is_found_however_it_is_written(name: bytes) -> None:
    """Also when it is the last of the headers, and when there is no body."""
    assert parse(b"HTTP/1.1 204 No Content\r\n" + name + b": 0\r\n\r\n") == (b"204", b"")


@pytest.mark.parametrize(
    "received",
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", _ANSWER + b"H", _ANSWER * 2],
)
def test_what_is_not_one_answer_is_refused(received: bytes) -> None:
    """A generator that miscounts answers would measure something else."""
    with pytest.raises(AnswerError):
        parse(received)


def test_a_request_is_whole() -> None:
    """Head and body, with the body's length."""
    prepared = request("POST", "/x/", token="t", body=b"{}")
    head, body = prepared.split(b"\r\n\r\n")
    assert head.startswith(b"POST /x/ HTTP/1.1\r\n")
    assert b"Authorization: Bearer t" in head
    assert b"Content-Length: 2" in head
    assert body == b"{}"


async def _exchange(answer: bytes) -> bytes:
    """The body that a client of a server hands over which answers everything with these bytes, cut in two."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (answer[:30], answer[30:]):
            writer.write(piece)
            await writer.drain()
        writer.close()

    outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    client = Client(
        expected=201,
        answered=lambda _, body: outcome.set_result(body),
        failed=lambda error: None if outcome.done() else outcome.set_exception(error),
    )
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        await connect(port, client)
        client.send(request("GET", "/", token="t"))
        async with asyncio.timeout(5):
            return await outcome


async def test_the_client_hands_over_what_was_answered() -> None:
    """Over a connection."""
    assert await _exchange(_ANSWER) == b'{"id":"a"}'


@pytest.mark.parametrize("answer", [_ANSWER.replace(b"201", b"503"), _ANSWER[:40]])
async def test_another_status_or_a_broken_connection_is_a_failure(answer: bytes) -> None:
    """Nothing but the expected answer is ever counted."""
    with pytest.raises(AnswerError):
        await _exchange(answer)


def test_the_spread_of_rounds() -> None:
    """Median, least, greatest; the median of an even number lies between the middle two."""
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([1.0, 2.0, 3.0, 10.0]).median == 2.5


def test_ratios_are_made_within_their_rounds() -> None:
    """A slow round is slow for both."""
    assert ratios([50.0, 100.0], [100.0, 200.0]) == [0.5, 0.5]


def test_quantiles_of_values() -> None:
    """Of a hundred values the p99 is the greatest but one share."""
    values = [float(number) for number in range(100)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50.0, 99.0, 7.0)


def test_quantiles_of_a_histogram_are_interpolated() -> None:
    """Ten values up to 1, ten more between 2 and 3; one beyond everything."""
    bounds, counts = [1.0, 2.0, 3.0, math.inf], [10.0, 10.0, 20.0, 20.0]
    assert bucket_quantile(bounds, counts, 0.25) == 0.5
    assert bucket_quantile(bounds, counts, 0.75) == 2.5
    assert bucket_quantile(bounds, [10.0, 10.0, 20.0, 21.0], 1) == math.inf
    with pytest.raises(ValueError, match="empty"):
        bucket_quantile(bounds, [0.0] * 4, 0.5)


def test_the_table_tells_median_ratio_and_verdict() -> None:
    """Columns are aligned, thousands set apart, a goal that was not reached cannot be overlooked."""
    good = Row(
        "good", [1000.0, 3000.0, 2000.0], ratios=[0.5, 0.7, 0.6], goal=Goal(0.6), costs={"server": [99.6]}
    )
    bad = Row("bad", [20.0], goal=Goal(10, at_least=False))
    heading, first, second = table([good, bad]).splitlines()
    assert re.split("  +", first) == [
        "good",
        "2 000",
        "1 000-3 000",
        "0.60",
        "0.50-0.70",
        "≥ 0.6 reached",
        "100",
    ]
    assert re.split("  +", second) == ["bad", "20.0", "20.0-20.0", "< 10 MISSED"]
    assert heading.index("median") + len("median") == first.index("2 000") + len("2 000")
