"""A closed loop of requests: each connection sends the next one when its answer has come.

A process of its own, so that its cost is known: `python -m bench.load` reads a `Plan` as JSON and prints a `Load`.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench import program
from bench.client import AnswerError, Client, connect

_PATIENCE: Final = 10.0
"""Seconds for the last answers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: ``requests`` in turn, whole, over so many connections for so many seconds."""

    port: int
    requests: Sequence[str]
    expected: int
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """What was answered: how many, in how many seconds, and the processor seconds of the generator."""

    answers: int
    seconds: float
    cpu: float


class _ClosedLoop:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = itertools.cycle([one.encode() for one in plan.requests])
        self._answers = 0
        self._busy = plan.connections
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._until = 0.0

    async def run(self) -> Load:
        plan = self._plan
        clients = [
            Client(expected=plan.expected, answered=self._answered, failed=self._failed)
            for _ in range(plan.connections)
        ]
        try:
            for client in clients:
                await connect(plan.port, client)
            began, cpu = time.perf_counter(), time.process_time()
            self._until = began + plan.seconds
            for client in clients:
                client.send(next(self._requests))
            async with asyncio.timeout(plan.seconds + _PATIENCE):
                await self._over
            return Load(self._answers, time.perf_counter() - began, time.process_time() - cpu)
        finally:
            for client in clients:
                client.close()

    def _answered(self, client: Client, _body: bytes) -> None:
        self._answers += 1
        if time.perf_counter() < self._until:
            client.send(next(self._requests))
            return
        self._busy -= 1
        if self._busy == 0 and not self._over.done():
            self._over.set_result(None)

    def _failed(self, error: AnswerError) -> None:
        if not self._over.done():
            self._over.set_exception(error)


async def _load(plan: Plan) -> Load:
    return await _ClosedLoop(plan).run()


def main() -> int:
    """Read the plan, do it, print what came of it."""
    return program.run(Plan, _load)


if __name__ == "__main__":
    sys.exit(main())
