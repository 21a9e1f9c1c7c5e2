"""Hostile requests to the edge: whatever they contain, none fails, and none blocks the others."""

import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import orjson
import pytest

from service.domain.model import new_key_half
from tests.edge_site import RELAYS, EdgeSite, SigningRelay, open_edge

RELAY = SigningRelay()
_REQUESTS: Final = 1000
_TOKEN: Final = "a-token-of-the-edge"  # noqa: S105 -- of a temporary server
_MAX_SECONDS: Final = 0.05
_PATHS: Final = (
    *(f"{RELAYS}{path}" for path in ("projectconfigs/?version=3", "publickeys/", "outcomes/")),
    *(f"{RELAYS}register/{step}/" for step in ("challenge", "response")),
    "/keys/lookup",
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 2**63, 1e308, "", "\x00", "é" * 300, [], {}, [[]], [None] * 600),
    *(new_key_half(), [new_key_half()] * 501, {"a": {"b": []}}, ["x" * 32, 5, {}], "A" * 43),
)
_MEMBERS: Final = (
    *("publicKeys", "revisions", "global", "fullConfig", "relay_ids", "outcomes", "relay_id", "public_key"),
    *("token", "version", "timestamp", "outcome", "project_id"),
)


@pytest.fixture(scope="module")
async def edge(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeSite]:
    """An edge that knows the relay, whose outcomes go to the topic of its keys, and has a token."""
    directory = tmp_path_factory.mktemp("edge")
    async with open_edge(kafka_bootstrap, relays=[RELAY], directory=directory, edge_token=_TOKEN) as opened:
        yield opened


def _bodies(source: random.Random) -> Iterator[bytes]:
    """Yield bodies without end: objects with members of any type, truncated, mutated, and no JSON at all."""
    while True:
        members = {source.choice(_MEMBERS): source.choice(_VALUES) for _ in range(source.randrange(5))}
        raw = orjson.dumps(
            {**members, "relay_id": RELAY.id} if source.random() < 0.5 else members, default=str
        )
        yield raw
        yield raw[: source.randrange(len(raw))]
        mutated = bytearray(raw)
        mutated[source.randrange(len(raw))] = source.randrange(256)
        yield bytes(mutated)
        yield source.choice(
            [b"[" * 900, b'{"a":' * 900, b"\xff\xfe", b'"' + b"a" * 5000, b"1" * 5000, b"NaN"]
        )


async def test_no_hostile_body_results_in_a_failure(edge: EdgeSite) -> None:
    """Signed and not signed; the seed makes a failure repeatable."""
    seed = random.randrange(2**32)  # noqa: S311 -- as below
    source = random.Random(seed)  # noqa: S311 -- repeatable, and no secret
    bodies, statuses = _bodies(source), set()
    for _ in range(_REQUESTS):
        path, raw = source.choice(_PATHS), next(bodies)
        headers = RELAY.headers(raw) if source.random() < 0.9 else {"X-Sentry-Relay-Id": RELAY.id}
        if path.startswith("/keys"):
            headers = {"X-Edge-Token": _TOKEN}
        status, _ = await edge.send("POST", path, raw, headers)
        assert status < 500, (seed, path, raw)
        statuses.add(status)
    assert {200, 400, 401} <= statuses


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
