"""Hostile input for every parser: a JSON response, and no step of the event loop takes more than 50 ms."""

import asyncio
import json
import re
import time

import pytest

from tests.hostile_inputs import BODY_LIMIT, Hostile, hostile_inputs
from tests.http_service import Site
from tests.raw_requests import Target

_MAX_STEP = 0.05
"""Seconds of processor time."""

_ATTEMPTS = 3
"""The minimum of several measurements counts: garbage collection and cold caches are not due to the input."""

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


async def _processor_seconds(site: Site, request: bytes) -> tuple[bytes, float]:
    """Return the response and the processor time of the thread in which the service and this test run."""
    began = time.thread_time()
    response = await site.exchange(request)
    return response, time.thread_time() - began


async def _longest_step(site: Site, request: bytes) -> tuple[bytes, float]:
    """Return the response and the longest processor time of one iteration of the event loop."""
    steps: list[float] = []

    async def measure() -> None:
        began = time.thread_time()
        while True:
            await asyncio.sleep(0)
            steps.append(time.thread_time() - began)
            began = time.thread_time()

    task = asyncio.create_task(measure())
    response = await site.exchange(request)
    task.cancel()
    return response, max(steps)


async def _cost(site: Site, case: Hostile) -> tuple[bytes, float]:
    """Return the response and its processor time: of all steps together, unless the case allows several steps."""
    return await (_longest_step if case.in_steps else _processor_seconds)(site, case.request)


@pytest.mark.parametrize("name", [case.name for case in hostile_inputs(Target("/", ""))])
async def test_a_hostile_input_does_not_block_the_event_loop(site: Site, name: str) -> None:
    """All work for the request takes less than the limit of one step; of chunked bodies, each step does."""
    case = next(case for case in hostile_inputs(Target(site.keys_path, site.token)) if case.name == name)
    costs: list[float] = []
    while len(costs) < _ATTEMPTS:
        response, seconds = await _cost(site, case)
        head, _, body = response.partition(b"\r\n\r\n")
        assert [int(status) for status in _STATUS.findall(head)] == [case.status], body[:200]
        assert b"\r\nX-Request-Id: " in head
        assert isinstance(json.loads(body), list if name.startswith("query, ") and case.status == 200 else dict)
        costs.append(seconds)
        if seconds < _MAX_STEP:
            break
    assert min(costs) < _MAX_STEP


def test_the_table_is_within_the_default_limits(site: Site) -> None:
    """Otherwise the requests would not reach the parsers; each name is unique."""
    table = list(hostile_inputs(Target(site.keys_path, site.token)))
    assert len({case.name for case in table}) == len(table)
    assert site.service.settings.body_limit == BODY_LIMIT
    for case in table:
        head, _, body = case.request.partition(b"\r\n\r\n")
        assert len(body.replace(b"1\r\n \r\n", b" ").removesuffix(b"0\r\n\r\n")) <= BODY_LIMIT
        assert max(map(len, head.split(b"\r\n"))) <= 8_190
