"""A closed loop of requests: each connection sends the next request after the response to the previous one.

A process of its own, so that its cost is known: `python -m bench.closed_loop` reads a `Plan` as JSON and prints a
`Load`.
"""

import asyncio
import itertools
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench import worker
from bench.calculations import quantile
from bench.load_client import LoadConnection, ResponseError, connect
from bench.programs import run_worker

_LAST_RESPONSES_TIMEOUT: Final = 15.0
"""Seconds; longer than the service's timeout of a request."""

_WORKER_TIMEOUT: Final = 80.0
"""Seconds in addition to those of the plan."""

_OTHER_DESCRIPTORS: Final = 100  # descriptors that are not connections
_PARALLEL_CONNECTS: Final = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """The complete requests to send in turn, the number of connections, and the duration in seconds.

    With ``refusals``, a 503 is counted and the connection sends the next request; otherwise it is a failure.
    """

    port: int
    requests: Sequence[str]
    expected: int
    connections: int
    seconds: float
    refusals: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """The numbers of responses and refusals, with quantiles of their times, and what the generator used.

    Times are in seconds, 0 without a response; ``cpu`` is in processor seconds.
    """

    responses: int
    p50: float
    p99: float
    refused: int
    refused_p99: float
    seconds: float
    cpu: float


async def run_load(plan: Plan) -> Load:
    """Run the load in a process of its own.

    Raises:
        BenchError: A response is unexpected or missing, or the server closed a connection.
    """
    return Load(**await run_worker(__name__, plan, timeout=plan.seconds + _WORKER_TIMEOUT))


class _ClosedLoop:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = itertools.cycle([request.encode() for request in plan.requests])
        self._accepted: list[float] = []
        self._refused: list[float] = []
        self._active = plan.connections
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline = 0.0

    async def run(self) -> Load:
        plan = self._plan
        connections = [
            LoadConnection(
                expected=plan.expected,
                on_response=self._on_response,
                on_refusal=self._on_refusal if plan.refusals else None,
                on_failure=self._on_failure,
            )
            for _ in range(plan.connections)
        ]
        try:
            for first in range(0, len(connections), _PARALLEL_CONNECTS):
                part = connections[first : first + _PARALLEL_CONNECTS]
                await asyncio.gather(*(connect(plan.port, connection) for connection in part))
            began, cpu = time.perf_counter(), time.process_time()
            self._deadline = began + plan.seconds
            for connection in connections:
                self._send(connection, time.perf_counter())
            async with asyncio.timeout(plan.seconds + _LAST_RESPONSES_TIMEOUT):
                await self._done
            return self._load(time.perf_counter() - began, time.process_time() - cpu)
        finally:
            for connection in connections:
                connection.close()

    def _load(self, seconds: float, cpu: float) -> Load:
        return Load(
            responses=len(self._accepted),
            p50=quantile(self._accepted, 0.5) if self._accepted else 0.0,
            p99=quantile(self._accepted, 0.99) if self._accepted else 0.0,
            refused=len(self._refused),
            refused_p99=quantile(self._refused, 0.99) if self._refused else 0.0,
            seconds=seconds,
            cpu=cpu,
        )

    def _send(self, connection: LoadConnection, now: float) -> None:
        connection.request_due = now
        connection.send(next(self._requests))

    def _on_response(self, connection: LoadConnection, _body: bytes) -> None:
        self._record(connection, self._accepted)

    def _on_refusal(self, connection: LoadConnection) -> None:
        self._record(connection, self._refused)

    def _record(self, connection: LoadConnection, times: list[float]) -> None:
        now = time.perf_counter()
        times.append(now - connection.request_due)
        if now < self._deadline:
            self._send(connection, now)
            return
        self._active -= 1
        if self._active == 0 and not self._done.done():
            self._done.set_result(None)

    def _on_failure(self, error: ResponseError) -> None:
        if not self._done.done():
            self._done.set_exception(error)


async def _measure(plan: Plan) -> Load:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = min(hard, plan.connections + _OTHER_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))  # never lower than before
    return await _ClosedLoop(plan).run()


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _measure)


if __name__ == "__main__":
    sys.exit(main())
