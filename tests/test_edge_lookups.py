"""Look-ups of key states by other services."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.domain.model import new_key_half
from tests.edge_site import EdgeSite, open_edge

_TOKEN = "a-token-of-the-edge"  # noqa: S105 -- of a temporary server
_BEARER = {"Authorization": f"Bearer {_TOKEN}"}


@pytest.fixture(scope="module")
async def edge(kafka_bootstrap: str) -> AsyncIterator[EdgeSite]:
    """An edge with a token."""
    async with open_edge(kafka_bootstrap, edge_token=_TOKEN) as opened:
        yield opened


async def _get(edge: EdgeSite, key: str, headers: dict[str, str] = _BEARER) -> tuple[int, Any]:
    return await edge.send("GET", f"/keys/{key}", headers=headers)


async def _lookup(edge: EdgeSite, body: object, headers: dict[str, str] = _BEARER) -> tuple[int, Any]:
    return await edge.send("POST", "/keys/lookup", json.dumps(body).encode(), headers)


async def test_the_state_of_a_key_is_that_of_the_topic(edge: EdgeSite) -> None:
    """One key, or up to 500 in one request; null for those that do not exist."""
    key, unknown = new_key_half(), new_key_half()
    await edge.write(key, name="Café")
    status, state = await _get(edge, key)
    assert (status, state["id"], state["name"], state["version"]) == (200, key, "Café", 1)
    assert (await _get(edge, unknown))[0] == 404
    assert (await _get(edge, "x" * 40))[0] == 404
    assert await _lookup(edge, {"publicKeys": [key, unknown]}) == (200, {"keys": {key: state, unknown: None}})


@pytest.mark.parametrize("keys", [None, 5, ["x"], [5], [None], [new_key_half()] * 501, "a" * 32])
async def test_a_malformed_lookup_is_refused(edge: EdgeSite, keys: Any) -> None:
    """Only lists of public keys."""
    assert (await _lookup(edge, {"publicKeys": keys}))[0] == 400


async def test_a_lookup_requires_the_token(edge: EdgeSite, kafka_bootstrap: str) -> None:
    """Without a token in the settings, there are no look-ups."""
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"X-Edge-Token": "wrong"},
        {"Authorization": _TOKEN},
    ):
        assert (await _get(edge, new_key_half(), headers))[0] == 401
        assert (await _lookup(edge, {"publicKeys": []}, headers))[0] == 401
    assert (await _lookup(edge, {"publicKeys": []}, {"X-Edge-Token": _TOKEN}))[0] == 200
    async with open_edge(kafka_bootstrap) as without:
        assert (await _get(without, new_key_half()))[0] == 404
        assert (await _lookup(without, {"publicKeys": []}))[0] == 404
