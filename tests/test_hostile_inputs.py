"""Hostile input for every parser: a response in the API's form, and the event loop is never occupied for long."""

import json
import re
import time

import pytest

from tests.hostile_inputs import BODY_LIMIT, hostile_inputs
from tests.http_service import Site
from tests.raw_requests import Target

_LONGEST_OCCUPATION = 0.05
"""Seconds of processor time."""

_ATTEMPTS = 3
"""The least of so many counts: a collection of garbage or a cold cache is not the input's."""

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


async def _processor_seconds(site: Site, request: bytes) -> tuple[bytes, float]:
    """Return the response and what it cost the thread in which the service and this test run."""
    began = time.thread_time()
    response = await site.exchange(request)
    return response, time.thread_time() - began


@pytest.mark.parametrize("name", [one.name for one in hostile_inputs(Target("/", ""))])
async def test_a_hostile_input_is_answered_without_occupying_the_event_loop(site: Site, name: str) -> None:
    """All work for the request, on any number of turns of the loop, is below the bound for one turn."""
    case = next(one for one in hostile_inputs(Target(site.keys_path, site.token)) if one.name == name)
    costs: list[float] = []
    while len(costs) < _ATTEMPTS:
        response, seconds = await _processor_seconds(site, case.request)
        head, _, body = response.partition(b"\r\n\r\n")
        assert [int(status) for status in _STATUS.findall(head)] == [case.status], body[:200]
        assert b"\r\nX-Request-Id: " in head
        assert isinstance(
            json.loads(body), list if name.startswith("query, ") and case.status == 200 else dict
        )
        costs.append(seconds)
        if seconds < _LONGEST_OCCUPATION:
            break
    assert min(costs) < _LONGEST_OCCUPATION


def test_the_table_is_within_the_default_limits(site: Site) -> None:
    """Otherwise the parsers would not see it; each name stands for one request."""
    table = list(hostile_inputs(Target(site.keys_path, site.token)))
    assert len({one.name for one in table}) == len(table)
    assert site.service.settings.body_limit == BODY_LIMIT
    for one in table:
        head, _, body = one.request.partition(b"\r\n\r\n")
        assert len(body) <= BODY_LIMIT
        assert max(map(len, head.split(b"\r\n"))) <= 8_190
