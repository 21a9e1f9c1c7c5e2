"""A generator of more requests than the service admits: each connection sends again at once after any response.

A process of its own: `python -m bench.overload_generator` reads a `Plan` as JSON and prints an `Overload`.
"""

import asyncio
import resource
import sys
import time
from dataclasses import dataclass
from typing import Final

from bench import worker
from bench.calculations import quantile
from bench.load_client import LoadConnection, ResponseError, connect

_LAST_RESPONSES_TIMEOUT: Final = 15.0
"""Seconds; longer than the service's timeout of a request."""

_OTHER_DESCRIPTORS: Final = 100  # descriptors that are not connections
_PARALLEL_CONNECTS: Final = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, the status of a success, the number of connections, and the duration in seconds."""

    port: int
    request: str
    expected: int
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Overload:
    """Successes and refusals per second, and their times in seconds."""

    accepted: float
    refused: float
    accepted_p50: float
    accepted_p99: float
    refused_p99: float


class _Generator:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._request = plan.request.encode()
        self._accepted: list[float] = []
        self._refused: list[float] = []
        self._active = 0
        self._deadline = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Overload:
        plan = self._plan
        connections = [
            LoadConnection(
                expected=plan.expected,
                on_response=self._on_response,
                on_refusal=self._on_refusal,
                on_failure=self._on_failure,
            )
            for _ in range(plan.connections)
        ]
        try:
            for first in range(0, len(connections), _PARALLEL_CONNECTS):
                part = connections[first : first + _PARALLEL_CONNECTS]
                await asyncio.gather(*(connect(plan.port, connection) for connection in part))
            began = time.perf_counter()
            self._deadline, self._active = began + plan.seconds, len(connections)
            for connection in connections:
                self._send(connection)
            async with asyncio.timeout(plan.seconds + _LAST_RESPONSES_TIMEOUT):
                await self._done
            return self._result(time.perf_counter() - began)
        finally:
            for connection in connections:
                connection.close()

    def _result(self, seconds: float) -> Overload:
        return Overload(
            accepted=len(self._accepted) / seconds,
            refused=len(self._refused) / seconds,
            accepted_p50=quantile(self._accepted, 0.5) if self._accepted else 0.0,
            accepted_p99=quantile(self._accepted, 0.99) if self._accepted else 0.0,
            refused_p99=quantile(self._refused, 0.99) if self._refused else 0.0,
        )

    def _send(self, connection: LoadConnection) -> None:
        connection.request_due = time.perf_counter()
        connection.send(self._request)

    def _on_response(self, connection: LoadConnection, _body: bytes) -> None:
        self._record(connection, self._accepted)

    def _on_refusal(self, connection: LoadConnection) -> None:
        self._record(connection, self._refused)

    def _record(self, connection: LoadConnection, times: list[float]) -> None:
        now = time.perf_counter()
        times.append(now - connection.request_due)
        if now < self._deadline:
            self._send(connection)
            return
        self._active -= 1
        if self._active == 0 and not self._done.done():
            self._done.set_result(None)

    def _on_failure(self, error: ResponseError) -> None:
        if not self._done.done():
            self._done.set_exception(error)


async def _measure(plan: Plan) -> Overload:
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, plan.connections + _OTHER_DESCRIPTORS), limit))
    return await _Generator(plan).run()


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _measure)


if __name__ == "__main__":
    sys.exit(main())
