"""Hostile requests to the edge: whatever they contain, none fails, and none blocks the others."""

import random
import time
from collections.abc import AsyncIterator
from itertools import islice
from typing import Final

import orjson
import pytest

from service.domain.model import new_key_half
from testkit.hostile_requests import hostile_requests
from tests.edge_site import EdgeSite, SigningRelay, open_edge

RELAY = SigningRelay()
_REQUESTS: Final = 1000
_TOKEN: Final = "a-token-of-the-edge"  # noqa: S105 -- of a temporary server
_MAX_SECONDS: Final = 0.05


@pytest.fixture(scope="module")
async def edge(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeSite]:
    """An edge that knows the relay, whose outcomes go to the topic of its keys, and has a token."""
    directory = tmp_path_factory.mktemp("edge")
    async with open_edge(kafka_bootstrap, relays=[RELAY], directory=directory, edge_token=_TOKEN) as opened:
        yield opened


async def test_no_hostile_request_results_in_a_failure(edge: EdgeSite) -> None:
    """Signed and not signed, at every endpoint; the seed makes a failure repeatable."""
    seed = random.randrange(2**32)  # noqa: S311 -- as below
    source = random.Random(seed)  # noqa: S311 -- repeatable, and no secret
    statuses = set()
    for request in islice(hostile_requests(source, RELAY.id, RELAY.headers, _TOKEN), _REQUESTS):
        status, _ = await edge.send("POST", request.path, request.body, request.headers)
        assert status < 500, (seed, request)
        statuses.add(status)
    assert {200, 400, 401, 403} <= statuses


async def test_a_large_body_of_an_unknown_sender_blocks_nothing(edge: EdgeSite) -> None:
    """It is refused before it is parsed; a known relay's is bounded by the number of keys that are decided."""
    deep, wide = b"[" * 1_000_000, orjson.dumps({"publicKeys": [new_key_half() for _ in range(25_000)]})
    for raw in (deep, wide):
        started = time.process_time()
        assert (await SigningRelay().post(edge, "projectconfigs/?version=3", raw))[0] == 401
        assert time.process_time() - started < _MAX_SECONDS * 2  # with the client, in the same process
        assert (await SigningRelay().post(edge, "register/challenge/", raw))[0] == 413
    status, answer = await RELAY.post(edge, "projectconfigs/?version=3", wide)
    assert (status, len(answer["pending"])) == (200, 25_000)
