"""A closed loop of requests: each connection sends the next request after the response to the previous one.

A process of its own, so that its cost is known: `python -m bench.closed_loop` reads a `Plan` as JSON and prints a
`Load`.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench import worker
from bench.load_client import LoadConnection, ResponseError, connect

_LAST_RESPONSES_TIMEOUT: Final = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """The complete requests to send in turn, the number of connections, and the duration in seconds."""

    port: int
    requests: Sequence[str]
    expected: int
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """The number of responses, the duration in seconds, and the processor seconds of the generator."""

    responses: int
    seconds: float
    cpu: float


class _ClosedLoop:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = itertools.cycle([request.encode() for request in plan.requests])
        self._responses = 0
        self._active = plan.connections
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline = 0.0

    async def run(self) -> Load:
        plan = self._plan
        connections = [
            LoadConnection(expected=plan.expected, on_response=self._on_response, on_failure=self._on_failure)
            for _ in range(plan.connections)
        ]
        try:
            for connection in connections:
                await connect(plan.port, connection)
            began, cpu = time.perf_counter(), time.process_time()
            self._deadline = began + plan.seconds
            for connection in connections:
                connection.send(next(self._requests))
            async with asyncio.timeout(plan.seconds + _LAST_RESPONSES_TIMEOUT):
                await self._done
            return Load(self._responses, time.perf_counter() - began, time.process_time() - cpu)
        finally:
            for connection in connections:
                connection.close()

    def _on_response(self, connection: LoadConnection, _body: bytes) -> None:
        self._responses += 1
        if time.perf_counter() < self._deadline:
            connection.send(next(self._requests))
            return
        self._active -= 1
        if self._active == 0 and not self._done.done():
            self._done.set_result(None)

    def _on_failure(self, error: ResponseError) -> None:
        if not self._done.done():
            self._done.set_exception(error)


async def _measure(plan: Plan) -> Load:
    return await _ClosedLoop(plan).run()


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _measure)


if __name__ == "__main__":
    sys.exit(main())
