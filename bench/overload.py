"""More requests than the service takes: connections that send again at once, whatever was answered.

A process of its own: `python -m bench.overload` reads a `Plan` as JSON and prints an `Overload`.
"""

import asyncio
import resource
import sys
import time
from dataclasses import dataclass
from typing import Final

from bench import program
from bench.client import AnswerError, Client, connect
from bench.figures import quantile

_PATIENCE: Final = 15.0
"""Seconds for the last answers: a request's time and more."""

_SPARE: Final = 100  # descriptors that are no connections
_AT_ONCE: Final = 200  # connections that are being made at a time


@dataclass(frozen=True, slots=True)
class Plan:
    """Which request to send over so many connections for so many seconds; ``expected`` is the good status."""

    port: int
    request: str
    expected: int
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Overload:
    """What was answered a second, and in which time (seconds)."""

    good: float
    refused: float
    good_p50: float
    good_p99: float
    refused_p99: float


class _Crowd:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._request = plan.request.encode()
        self._good: list[float] = []
        self._refused: list[float] = []
        self._busy = 0
        self._until = 0.0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Overload:
        plan = self._plan
        clients = [
            Client(
                expected=plan.expected, answered=self._on_good, refused=self._on_refused, failed=self._failed
            )
            for _ in range(plan.connections)
        ]
        try:
            for first in range(0, len(clients), _AT_ONCE):
                await asyncio.gather(*(connect(plan.port, one) for one in clients[first : first + _AT_ONCE]))
            began = time.perf_counter()
            self._until, self._busy = began + plan.seconds, len(clients)
            for client in clients:
                self._send(client)
            async with asyncio.timeout(plan.seconds + _PATIENCE):
                await self._over
            return self._found(time.perf_counter() - began)
        finally:
            for client in clients:
                client.close()

    def _found(self, seconds: float) -> Overload:
        return Overload(
            good=len(self._good) / seconds,
            refused=len(self._refused) / seconds,
            good_p50=quantile(self._good, 0.5) if self._good else 0.0,
            good_p99=quantile(self._good, 0.99) if self._good else 0.0,
            refused_p99=quantile(self._refused, 0.99) if self._refused else 0.0,
        )

    def _send(self, client: Client) -> None:
        client.stamp = time.perf_counter()
        client.send(self._request)

    def _on_good(self, client: Client, _body: bytes) -> None:
        self._note(client, self._good)

    def _on_refused(self, client: Client) -> None:
        self._note(client, self._refused)

    def _note(self, client: Client, times: list[float]) -> None:
        now = time.perf_counter()
        times.append(now - client.stamp)
        if now < self._until:
            self._send(client)
            return
        self._busy -= 1
        if self._busy == 0 and not self._over.done():
            self._over.set_result(None)

    def _failed(self, error: AnswerError) -> None:
        if not self._over.done():
            self._over.set_exception(error)


async def _load(plan: Plan) -> Overload:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, plan.connections + _SPARE), most))
    return await _Crowd(plan).run()


def main() -> int:
    """Read the plan, do it, print what came of it."""
    return program.run(Plan, _load)


if __name__ == "__main__":
    sys.exit(main())
