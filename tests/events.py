"""Reads events with aiokafka alone, without code of the service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord

_TIMEOUT = 20.0  # seconds


class Reader:
    """Collects every event of a topic from its beginning, without the service's control records."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.seen: list[ConsumerRecord] = []

    async def until(
        self,
        enough: Callable[[list[ConsumerRecord]], bool],
        *,
        timeout: float = _TIMEOUT,
    ) -> list[ConsumerRecord]:
        """Return all events when ``enough`` returns True for them; fail after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not enough(self.seen):
                    for records in (await self._consumer.getmany(timeout_ms=100)).values():
                        self.seen.extend(
                            record for record in records if header(record, "ce_type").startswith("projectkey.")
                        )
        except TimeoutError:
            raise AssertionError(f"not enough after {timeout:g} s: {len(self.seen)} events") from None
        return self.seen

    async def count(self, number: int) -> list[ConsumerRecord]:
        """Return the events when there are at least ``number`` of them."""
        return await self.until(lambda seen: len(seen) >= number)


def header(record: ConsumerRecord, name: str) -> str:
    """Return a header of a record, or "" if there is none of this name."""
    return next((value.decode() for header_name, value in record.headers if header_name == name), "")


@asynccontextmanager
async def reading(bootstrap: str, topic: str) -> AsyncIterator[Reader]:
    """Open a reader of ``topic`` for the block."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        yield Reader(consumer)
    finally:
        await consumer.stop()
