"""A steady stream of creates, and the delay of each event until a consumer receives it."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer

from bench.calculations import quantile
from bench.programs import BenchError
from service.domain.events import shard_of
from testkit.polling import poll_until

_RATE: Final = 60.0
"""Creates per second: five in each shard, which shows a delay to tenths of a second."""

_LATE: Final = 1.0
"""Seconds; a longer delay counts as caused by the failure, not by the load of the machine."""

_EVENTS_TIMEOUT: Final = 60.0


@dataclass(slots=True)
class CreateStream:
    """Creates keys on a schedule and records the times of each, in seconds of the monotonic clock.

    Attributes:
        url: The URL that receives the creates.
        token: A token that may create keys there.
        due: When each create was due, by public key.
        consumed: When the consumer received the event of each key.
    """

    url: str
    token: str
    due: dict[str, float] = field(default_factory=dict)
    consumed: dict[str, float] = field(default_factory=dict)

    async def run(self, seconds: float) -> None:
        """Send for ``seconds`` and wait for all events.

        Raises:
            BenchError: A create fails, or an event is not received.
        """
        headers = {"Authorization": f"Bearer {self.token}"}
        async with ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
            began = time.monotonic()
            for number in range(int(_RATE * seconds)):
                due = began + number / _RATE
                await asyncio.sleep(due - time.monotonic())
                group.create_task(self._create(session, due))
        await poll_until(
            lambda: not self._missing(),
            timeout=_EVENTS_TIMEOUT,
            interval=0.05,
            error=lambda: BenchError(f"{len(self._missing())} events are missing after {_EVENTS_TIMEOUT:g} s"),
        )

    def _missing(self) -> set[str]:
        return self.due.keys() - self.consumed.keys()

    async def _create(self, session: ClientSession, due: float) -> None:
        async with session.post(self.url, json={"name": "Outage"}) as response:
            if response.status != 201:  # noqa: PLR2004 -- an HTTP status
                raise BenchError(f"a create got status {response.status}")
            self.due[orjson.loads(await response.read())["id"]] = due

    async def consume(self, consumer: AIOKafkaConsumer) -> None:
        """Record every event until cancelled."""
        async for record in consumer:
            self.consumed.setdefault(record.key.decode(), time.monotonic())


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a failure.

    Attributes:
        shards: The number of shards with late events.
        longest: The longest delay in seconds.
        recovered_after: Seconds from the failure until the last late event was due.
        others: p99 of the delays in the other shards, in seconds.
    """

    shards: int
    longest: float
    recovered_after: float
    others: float


def effect_of(stream: CreateStream, failed_at: float) -> Effect:
    """Return the effect of a failure at this time (seconds of the monotonic clock)."""
    delays = {key: stream.consumed[key] - due for key, due in stream.due.items() if due >= failed_at - _LATE}
    late = {key: delay for key, delay in delays.items() if delay > _LATE}
    shards = {shard_of(key) for key in late}
    return Effect(
        shards=len(shards),
        longest=max(delays.values()),
        recovered_after=max((stream.due[key] - failed_at for key in late), default=0.0),
        others=quantile([delay for key, delay in delays.items() if shard_of(key) not in shards] or [0.0], 0.99),
    )
