"""The time until the edge accepts a created key and refuses a disabled one: an open loop over several replicas.

A process of its own: `python -m bench.edge_freshness` reads a `Plan` as JSON and prints an `EdgeFreshness`.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench import worker
from bench.freshness import schedule
from bench.load_client import ResponseError
from testkit.http_client import HttpConnection, NoResponseError, NotSentError, Response

_TIMEOUT: Final = 20.0
"""Seconds for all steps of one key."""

_INTERVAL: Final = 0.002
"""Seconds between two questions about a disabled key: the resolution of the measurement."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Ports of the replicas of the service and of the edge, the keys to create, their rate and the duration."""

    services: Sequence[int]
    edges: Sequence[int]
    token: str
    path: str
    project_id: int
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class EdgeFreshness:
    """Seconds, one value for each key, from the request or its response to the decision of the edge."""

    request_to_active: list[float]
    response_to_active: list[float]
    disabled_to_refused: list[float]


class _Client:
    """Connections to one port; as many as requests are in progress."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[HttpConnection] = []

    async def send(self, method: str, path: str, **options: Any) -> Response:
        connection = self._idle.pop() if self._idle else HttpConnection(self._port)
        response = await connection.request(method, path, **options)
        self._idle.append(connection)
        return response

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


class _KeyLives:
    """Creates keys by one replica and disables them by another; asks one replica of the edge about each."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._services = [_Client(port) for port in plan.services]
        self._edges = [_Client(port) for port in plan.edges]
        self.times: list[tuple[float, float, float]] = []

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as lives:
                for number, due in enumerate(schedule(self._plan.rate, self._plan.seconds)):
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    lives.create_task(self._live(number))
        except* (ResponseError, NotSentError, NoResponseError, TimeoutError) as errors:
            raise ResponseError(repr(errors.exceptions[0])) from None
        finally:
            for client in (*self._services, *self._edges):
                client.close()

    async def _live(self, number: int) -> None:
        plan, services = self._plan, self._services
        edge = self._edges[number // len(services) % len(self._edges)]
        async with asyncio.timeout(_TIMEOUT):
            began = time.perf_counter()
            created = await self._write(number, "POST", plan.path, {"name": "Fabulous Key"})
            responded = time.perf_counter()
            headers = {"X-Original-URI": f"/api/{plan.project_id}/envelope/?sentry_key={created['id']}"}
            await _ask_until(edge, 200, headers)
            active = time.perf_counter()
            await self._write(number + 1, "PUT", f"{plan.path}{created['id']}/", {"isActive": False})
            disabled = time.perf_counter()
            await _ask_until(edge, 403, headers)
            refused = time.perf_counter()
        self.times.append((active - began, active - responded, refused - disabled))

    async def _write(self, number: int, method: str, path: str, body: Mapping[str, Any]) -> Any:
        service = self._services[number % len(self._services)]
        response = await service.send(method, path, token=self._plan.token, body=body)
        if response.status not in {200, 201}:
            raise ResponseError(f"{method} {path}: {response.status} {response.body!r:.300}")
        return response.json()


async def _ask_until(edge: _Client, status: int, headers: Mapping[str, str]) -> None:
    while (await edge.send("GET", "/auth", headers=headers)).status != status:
        await asyncio.sleep(_INTERVAL)


async def _measure(plan: Plan) -> EdgeFreshness:
    lives = _KeyLives(plan)
    await lives.run()
    return EdgeFreshness(*(list(values) for values in zip(*lives.times, strict=True)))


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _measure)


if __name__ == "__main__":
    sys.exit(main())
