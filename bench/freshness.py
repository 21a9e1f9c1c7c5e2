"""How soon a foreign consumer has the event of a key: creates on a schedule that waits for no answer.

A process of its own: `python -m bench.freshness` reads a `Plan` as JSON and prints a `Freshness`.
"""

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer

from bench import program
from bench.client import AnswerError, Client, connect

_CONNECTIONS: Final = 32
"""Far more than the rate needs: a request waits for one only when the service has stalled, and its time runs."""

_PATIENCE: Final = 10.0
"""Seconds for the last answers and events."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which create to send how often (a second, at random moments), for so many seconds; where its event comes."""

    port: int
    request: str
    rate: float
    seconds: float
    bootstrap: str
    topic: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds, one for each create.

    From the request to its answer, and from either until the consumer had the event.
    """

    request_to_answer: list[float]
    request_to_event: list[float]
    answer_to_event: list[float]


class _OpenLoop:
    """Sends on a schedule and keeps the moments of each key: due, answered, consumed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._request = plan.request.encode()
        self._idle: list[Client] = []
        self._late: deque[float] = deque()
        self._failure: AnswerError | None = None
        self._sent = 0
        self.answered: dict[bytes, tuple[float, float]] = {}
        self.consumed: dict[bytes, float] = {}

    async def run(self) -> Freshness:
        clients = [
            Client(expected=201, answered=self._answered, failed=self._failed) for _ in range(_CONNECTIONS)
        ]
        try:
            for client in clients:
                await connect(self._plan.port, client)
            self._idle = clients.copy()
            await self._send_all()
            await self._until_all_came()
        finally:
            for client in clients:
                client.close()
        times = [(due, answered, self.consumed[key]) for key, (due, answered) in self.answered.items()]
        return Freshness(
            [answered - due for due, answered, _ in times],
            [consumed - due for due, _, consumed in times],
            [consumed - answered for _, answered, consumed in times],
        )

    async def _send_all(self) -> None:
        for due in _schedule(self._plan.rate, self._plan.seconds):
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            # The loop's timers are rounded to milliseconds: what counts is when the request could leave.
            now = time.perf_counter()
            self._sent += 1
            if self._idle:
                self._send(self._idle.pop(), now)
            else:
                self._late.append(now)

    def _send(self, client: Client, due: float) -> None:
        client.stamp = due
        client.send(self._request)

    def _answered(self, client: Client, body: bytes) -> None:
        key: str = orjson.loads(body)["id"]
        self.answered[key.encode()] = (client.stamp, time.perf_counter())
        if self._late:
            self._send(client, self._late.popleft())
        else:
            self._idle.append(client)

    def _failed(self, error: AnswerError) -> None:
        self._failure = error

    async def _until_all_came(self) -> None:
        deadline = time.perf_counter() + _PATIENCE
        while len(self.answered) < self._sent or not self.answered.keys() <= self.consumed.keys():
            if self._failure is not None:
                raise self._failure
            if time.perf_counter() > deadline:
                missing = len(self.answered.keys() - self.consumed.keys())
                raise AnswerError(
                    f"{_PATIENCE:.0f} s after the last of {self._sent} creates {self._sent - len(self.answered)} "
                    f"have no answer and {missing} answered ones no event"
                )
            await asyncio.sleep(0.01)


def _schedule(rate: float, seconds: float) -> Iterator[float]:
    chance = random.Random(1)  # the same moments in every round
    due = began = time.perf_counter()
    while (due := due + chance.expovariate(rate)) < began + seconds:
        yield due


async def _consume(consumer: AIOKafkaConsumer, consumed: dict[bytes, float]) -> None:
    async for record in consumer:
        consumed.setdefault(record.key, time.perf_counter())


async def _measure(plan: Plan) -> Freshness:
    consumer = AIOKafkaConsumer(plan.topic, bootstrap_servers=plan.bootstrap, auto_offset_reset="latest")
    await consumer.start()
    try:
        for partition in consumer.assignment():
            await consumer.position(partition)  # the end is found now, not when the first record is there
        loop = _OpenLoop(plan)
        reading = asyncio.create_task(_consume(consumer, loop.consumed))
        try:
            return await loop.run()
        finally:
            reading.cancel()
    finally:
        await consumer.stop()


def main() -> int:
    """Read the plan, do it, print what came of it."""
    return program.run(Plan, _measure)


if __name__ == "__main__":
    sys.exit(main())
