"""Reads the topic as it grows, for people to watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from service.kafka.connection import KafkaConnection

_WAIT_MS: Final = 100
"""For how long a broker may hold an empty answer back."""

_BEGIN_WITHIN: Final = 10.0
_STOP_WITHIN: Final = 1.0
"""Seconds, for whoever ends it waits for that."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it stands in the log."""

    partition: int
    offset: int
    timestamp_ms: int
    key: str
    headers: dict[str, str]
    value: bytes | None


@asynccontextmanager
async def tailing(
    connection: KafkaConnection, topic: str, *, from_beginning: bool
) -> AsyncIterator[AsyncIterator[Seen]]:
    """Every record from the moment on at which the block begins, or from the beginning; never ends by itself.

    Raises:
        KafkaError: Kafka cannot be reached.
        LookupError: there is no such topic.
        TimeoutError: Kafka does not say where the topic ends.
    """
    # Without a group all partitions are this reader's, and nothing of it is kept in Kafka.
    consumer = AIOKafkaConsumer(
        topic, **connection.client_options(), auto_offset_reset="earliest", fetch_max_wait_ms=_WAIT_MS
    )
    try:
        async with asyncio.timeout(_BEGIN_WITHIN):
            await consumer.start()
            await _seek(consumer, topic, from_beginning=from_beginning)
        yield (_seen(record) async for record in consumer)
    finally:
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(consumer.stop(), _STOP_WITHIN)


async def _seek(consumer: AIOKafkaConsumer, topic: str, *, from_beginning: bool) -> None:
    partitions = consumer.assignment()
    if not partitions:
        raise LookupError(f"there is no topic {topic}")
    if from_beginning:
        await consumer.seek_to_beginning()
        return
    for partition, end in (await consumer.end_offsets(partitions)).items():
        consumer.seek(partition, end)  # now: to seek the end would look for it later


def _seen(record: Any) -> Seen:
    return Seen(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=(record.key or b"").decode(errors="replace"),
        headers={name: value.decode(errors="replace") for name, value in record.headers},
        value=record.value,
    )
