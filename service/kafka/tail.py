"""Reads the topic as it grows, for people to watch."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer

from service.kafka.connection import KafkaConnection

_WAIT_MS: Final = 100
"""For how long a broker may hold an empty answer back."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it stands in the log."""

    partition: int
    offset: int
    timestamp_ms: int
    key: str
    headers: dict[str, str]
    value: bytes | None


async def tail(connection: KafkaConnection, topic: str, *, from_beginning: bool) -> AsyncIterator[Seen]:
    """Every record from now on, or from the beginning; never ends by itself.

    Raises:
        KafkaError: Kafka cannot be reached.
        LookupError: there is no such topic.
    """
    # Without a group all partitions are this reader's, and nothing of it is kept in Kafka.
    consumer = AIOKafkaConsumer(
        topic, **connection.client_options(), auto_offset_reset="earliest", fetch_max_wait_ms=_WAIT_MS
    )
    await consumer.start()
    try:
        if not consumer.assignment():
            raise LookupError(f"there is no topic {topic}")
        if from_beginning:
            await consumer.seek_to_beginning()
        else:
            await consumer.seek_to_end()
        async for record in consumer:
            yield Seen(
                partition=record.partition,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                key=(record.key or b"").decode(errors="replace"),
                headers={name: value.decode(errors="replace") for name, value in record.headers},
                value=record.value,
            )
    finally:
        await consumer.stop()
