"""Fifty concurrent requests with one Idempotency-Key to two replicas: one of them creates a resource, once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector

from service.settings import Settings
from tests.outbox import Postgres
from tests.processes import DeployedReplica, Deployment, deploy, replica

_CALLERS = 50
_KEYS = 20
_AT_ONCE = 5
"""Keys raced for at the same time."""

_PAUSE = 0.1
_PATIENCE = 30.0

Post = Callable[[DeployedReplica, str, str], Awaitable[tuple[int, dict[str, Any], bool]]]


@pytest.fixture
async def deployment(settings: Settings, topic: str) -> Deployment:
    """A database and a topic of one test."""
    return await deploy(replace(settings, kafka_topic=topic))


def _posting(session: ClientSession, deployment: Deployment, path: str) -> Post:
    """What sends ``{"name": name}`` under a key: status, body, and whether it was a replay."""

    async def post(one: DeployedReplica, name: str, key: str) -> tuple[int, dict[str, Any], bool]:
        headers = {"Authorization": f"Bearer {deployment.token}", "Idempotency-Key": key}
        url = f"http://127.0.0.1:{one.port}{path}"
        async with session.post(url, json={"name": name}, headers=headers) as response:
            return response.status, await response.json(), "Idempotent-Replayed" in response.headers

    return post


async def _race(post: Post, replicas: tuple[DeployedReplica, DeployedReplica], name: str) -> str:
    """Return the id of the created resource; fail if there are two, or if a response is wrong."""
    answers = await asyncio.gather(*(_call(post, replicas[number % 2], name) for number in range(_CALLERS)))
    made = {body["id"] for _, body, _ in answers}
    assert len(made) == 1
    assert sum(not replayed for _, _, replayed in answers) <= 1
    for one in replicas:
        status, body, replayed = await post(one, name, f"key-of-{name}")
        assert (status, replayed, {body["id"]}) == (201, True, made)
    return str(made.pop())


async def _call(post: Post, one: DeployedReplica, name: str) -> tuple[int, dict[str, Any], bool]:
    """Send a request; retry it with the same key after 409 and 503."""
    async with asyncio.timeout(_PATIENCE):
        while (answer := await post(one, name, f"key-of-{name}"))[0] in {409, 503}:
            await asyncio.sleep(_PAUSE)
    assert answer[0] == 201, answer
    return answer


_RACES = {
    "keys": ("", "SELECT count(*) FROM project_key WHERE label LIKE 'race-%'", _KEYS),
    "projects": (
        "/api/0/organizations/{}/projects/",
        "SELECT count(*) FROM project WHERE name LIKE 'race-%'",
        5,
    ),
    "organizations": (
        "/api/0/organizations/",
        "SELECT count(*) FROM organization WHERE name LIKE 'race-%'",
        5,
    ),
}


@pytest.mark.parametrize("kind", _RACES)
async def test_concurrent_requests_with_one_key_create_one_resource_and_return_it(
    deployment: Deployment, postgres: Postgres, tmp_path: Path, kind: str
) -> None:
    """Every response contains that resource, or asks for a retry; there are as many rows as keys."""
    path, count, keys = _RACES[kind]
    path = path.format(deployment.keys_path.split("/")[4]) or deployment.keys_path
    connections = TCPConnector(limit=_CALLERS * _AT_ONCE)
    async with (
        replica(deployment, tmp_path) as first,
        replica(deployment, tmp_path) as second,
        ClientSession(connector=connections, timeout=ClientTimeout(total=30)) as session,
    ):
        post = _posting(session, deployment, path)
        made = set[str]()
        for start in range(0, keys, _AT_ONCE):
            names = [f"race-{start + number}" for number in range(_AT_ONCE)]
            made.update(await asyncio.gather(*(_race(post, (first, second), name) for name in names)))
    assert len(made) == keys
    assert await postgres.fetchval(count) == keys
    assert await postgres.fetchval("SELECT count(*) FROM idempotency") == keys
