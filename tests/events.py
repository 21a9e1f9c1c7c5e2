"""Reading events as a foreign consumer would."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord

_PATIENCE = 20.0
"""Seconds until a test gives up waiting."""


class Reader:
    """Collects every event of a topic from its beginning; the service's own records are left out."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.seen: list[ConsumerRecord] = []

    async def until(
        self, enough: Callable[[list[ConsumerRecord]], bool], *, patience: float = _PATIENCE
    ) -> list[ConsumerRecord]:
        """Everything that was seen once it is ``enough``; fails if it never is."""
        try:
            async with asyncio.timeout(patience):
                while not enough(self.seen):
                    for records in (await self._consumer.getmany(timeout_ms=100)).values():
                        self.seen.extend(
                            one for one in records if header(one, "ce_type").startswith("projectkey.")
                        )
        except TimeoutError:
            raise AssertionError(f"not enough after {patience} s: {len(self.seen)} events") from None
        return self.seen

    async def count(self, number: int) -> list[ConsumerRecord]:
        """The events once there are ``number`` of them."""
        return await self.until(lambda seen: len(seen) >= number)


def header(record: ConsumerRecord, name: str) -> str:
    """A header of a record; "" if it has none of this name."""
    return next((value.decode() for one, value in record.headers if one == name), "")


@asynccontextmanager
async def reading(bootstrap: str, topic: str) -> AsyncIterator[Reader]:
    """A reader of ``topic``, for the time of the block."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        yield Reader(consumer)
    finally:
        await consumer.stop()
