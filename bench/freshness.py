"""The time until a consumer receives the event of a key: an open loop, which sends creates without waiting.

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

from bench import worker
from bench.load_client import LoadConnection, ResponseError, connect

_CONNECTIONS: Final = 32
"""Far more than the rate needs: a request waits for a connection only if the service stalls, and the wait counts."""

_LAST_EVENTS_TIMEOUT: Final = 10.0
"""Seconds for the last responses and events."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The request, its rate (per second, at random times), the duration in seconds, and the topic of the events."""

    port: int
    request: str
    rate: float
    seconds: float
    bootstrap: str
    topic: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds, one value for each create: to the response, and from request and response to the event."""

    request_to_response: list[float]
    request_to_event: list[float]
    response_to_event: list[float]


class _OpenLoop:
    """Sends on a schedule and records three times of each key: due, response, event."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._request = plan.request.encode()
        self._idle: list[LoadConnection] = []
        self._waiting: deque[float] = deque()
        self._failure: ResponseError | None = None
        self._sent = 0
        self.responses: dict[bytes, tuple[float, float]] = {}
        self.consumed: dict[bytes, float] = {}

    async def run(self) -> Freshness:
        connections = [
            LoadConnection(expected=201, on_response=self._on_response, on_failure=self._on_failure)
            for _ in range(_CONNECTIONS)
        ]
        try:
            for connection in connections:
                await connect(self._plan.port, connection)
            self._idle = connections.copy()
            await self._send_all()
            await self._wait_for_events()
        finally:
            for connection in connections:
                connection.close()
        times = [(due, responded, self.consumed[key]) for key, (due, responded) in self.responses.items()]
        return Freshness(
            [responded - due for due, responded, _ in times],
            [consumed - due for due, _, consumed in times],
            [consumed - responded for _, responded, consumed in times],
        )

    async def _send_all(self) -> None:
        for due in schedule(self._plan.rate, self._plan.seconds):
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            # The loop rounds timers to milliseconds: what counts is when the request could be sent.
            now = time.perf_counter()
            self._sent += 1
            if self._idle:
                self._send(self._idle.pop(), now)
            else:
                self._waiting.append(now)

    def _send(self, connection: LoadConnection, due: float) -> None:
        connection.request_due = due
        connection.send(self._request)

    def _on_response(self, connection: LoadConnection, body: bytes) -> None:
        key: str = orjson.loads(body)["id"]
        self.responses[key.encode()] = (connection.request_due, time.perf_counter())
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _on_failure(self, error: ResponseError) -> None:
        self._failure = error

    async def _wait_for_events(self) -> None:
        deadline = time.perf_counter() + _LAST_EVENTS_TIMEOUT
        while len(self.responses) < self._sent or not self.responses.keys() <= self.consumed.keys():
            if self._failure is not None:
                raise self._failure
            if time.perf_counter() > deadline:
                unanswered = self._sent - len(self.responses)
                missing = len(self.responses.keys() - self.consumed.keys())
                raise ResponseError(
                    f"{_LAST_EVENTS_TIMEOUT:.0f} s after the last of {self._sent} creates {unanswered} "
                    f"have no response, and {missing} with a response have no event"
                )
            await asyncio.sleep(0.01)


def schedule(rate: float, seconds: float) -> Iterator[float]:
    """Yield the times, of `time.perf_counter`, at which requests are due: random, ``rate`` per second."""
    rng = random.Random(1)  # the same times in every round
    due = began = time.perf_counter()
    while (due := due + rng.expovariate(rate)) < began + seconds:
        yield due


async def _consume(consumer: AIOKafkaConsumer, consumed: dict[bytes, float]) -> None:
    async for record in consumer:
        consumed.setdefault(record.key, time.perf_counter())


async def _measure(plan: Plan) -> Freshness:
    consumer = AIOKafkaConsumer(plan.topic, bootstrap_servers=plan.bootstrap, auto_offset_reset="latest")
    await consumer.start()
    try:
        for partition in consumer.assignment():
            await consumer.position(partition)  # finds the end now, not when the first record is consumed
        loop = _OpenLoop(plan)
        reading = asyncio.create_task(_consume(consumer, loop.consumed))
        try:
            return await loop.run()
        finally:
            reading.cancel()
    finally:
        await consumer.stop()


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _measure)


if __name__ == "__main__":
    sys.exit(main())
