"""A steady stream of creates, and how long each one's event took to a foreign consumer."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer

from bench.figures import quantile
from bench.processes import BenchError
from service.domain.partitioning import shard_of

_RATE: Final = 60.0
"""Creates a second: some five a second in each shard, so that a delay is seen to some tenths of a second."""

_LATE: Final = 1.0
"""Seconds after which an event counts as held up by a failure, and not by a busy machine."""

_COME_WITHIN: Final = 60.0


@dataclass(slots=True)
class Stream:
    """Creates on a schedule, and when each was due and when a consumer had it (seconds of the same clock)."""

    url: str
    token: str
    due: dict[str, float] = field(default_factory=dict)
    consumed: dict[str, float] = field(default_factory=dict)

    async def run(self, seconds: float) -> None:
        """Send for so many seconds and wait until everything has come.

        Raises:
            BenchError: a create fails, or an event does not come.
        """
        headers = {"Authorization": f"Bearer {self.token}"}
        async with ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
            began = time.monotonic()
            for number in range(int(_RATE * seconds)):
                moment = began + number / _RATE
                await asyncio.sleep(moment - time.monotonic())
                group.create_task(self._create(session, moment))
        deadline = time.monotonic() + _COME_WITHIN
        while self.due.keys() - self.consumed.keys():
            if time.monotonic() > deadline:
                missing = len(self.due.keys() - self.consumed.keys())
                raise BenchError(f"{missing} events have not come within {_COME_WITHIN:g} s")
            await asyncio.sleep(0.05)

    async def _create(self, session: ClientSession, moment: float) -> None:
        async with session.post(self.url, json={"name": "Outage"}) as answer:
            if answer.status != 201:  # noqa: PLR2004 -- HTTP's own
                raise BenchError(f"a create was answered {answer.status}")
            self.due[orjson.loads(await answer.read())["id"]] = moment

    async def consume(self, consumer: AIOKafkaConsumer) -> None:
        """Note every event until cancelled."""
        async for record in consumer:
            self.consumed.setdefault(record.key.decode(), time.monotonic())


@dataclass(frozen=True, slots=True)
class Effect:
    """What a failure did: how many shards had late events, the longest delay, when the last late one was due."""

    shards: int
    longest: float
    fresh_after: float
    others: float


def effect_of(stream: Stream, harmed_at: float) -> Effect:
    """What the delays tell of a failure at this moment (seconds of the monotonic clock)."""
    delays = {key: stream.consumed[key] - due for key, due in stream.due.items() if due >= harmed_at - _LATE}
    late = {key: delay for key, delay in delays.items() if delay > _LATE}
    shards = {shard_of(key) for key in late}
    return Effect(
        shards=len(shards),
        longest=max(delays.values()),
        fresh_after=max((stream.due[key] - harmed_at for key in late), default=0.0),
        others=quantile(
            [delay for key, delay in delays.items() if shard_of(key) not in shards] or [0.0], 0.99
        ),
    )
