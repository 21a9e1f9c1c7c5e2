"""Reads the topic: as it grows, and as a whole."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from projectkeys_consumer.errors import MalformedRecordError, ResyncRequiredError
from projectkeys_consumer.records import parse_record
from projectkeys_consumer.topic_reader import open_topic_reader
from service.domain.differences import TopicRecord
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError

_PUBLIC_KEY: Final = re.compile(rb"[0-9a-f]{32}")

_FETCH_MAX_WAIT_MS: Final = 100
"""How long a broker may wait for new records before it responds."""

_START_TIMEOUT: Final = 10.0
_STOP_TIMEOUT: Final = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """A record of the topic with its position."""

    partition: int
    offset: int
    timestamp_ms: int
    key: str
    headers: dict[str, str]
    value: bytes | None


@asynccontextmanager
async def tail_topic(
    connection: KafkaConnection, topic: str, *, from_beginning: bool
) -> AsyncIterator[AsyncIterator[TopicMessage]]:
    """Read every record from now on, or from the beginning; the iterator does not end.

    Raises:
        KafkaError: Kafka is unreachable.
        KafkaUnavailableError: The topic does not exist.
        TimeoutError: Kafka does not return the end offsets in time.
    """
    # Without a group this consumer gets all partitions, and Kafka stores nothing about it.
    consumer = AIOKafkaConsumer(
        topic,
        **connection.client_options(),
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            await consumer.start()
            await _seek(consumer, topic, from_beginning=from_beginning)
        yield (_message(record) async for record in consumer)
    finally:
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(consumer.stop(), _STOP_TIMEOUT)


async def _seek(consumer: AIOKafkaConsumer, topic: str, *, from_beginning: bool) -> None:
    partitions = consumer.assignment()
    if not partitions:
        raise KafkaUnavailableError(f"there is no topic {topic}")
    if from_beginning:
        await consumer.seek_to_beginning()
        return
    for partition, end in (await consumer.end_offsets(partitions)).items():
        consumer.seek(partition, end)  # seek_to_end would determine the end at the first fetch


def _message(record: Any) -> TopicMessage:
    return TopicMessage(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=(record.key or b"").decode(errors="replace"),
        headers={name: value.decode(errors="replace") for name, value in record.headers},
        value=record.value,
    )


async def read_topic(
    connection: KafkaConnection, topic: str, *, progress: Callable[[int, int], None]
) -> AsyncGenerator[list[TopicRecord], None]:
    """Read the records of all keys, from the first to the end offset at the start, some hundred at a time.

    Records of one key are in order. Records are decoded as by the consumer kit; a record that the kit ignores is
    included with version 0: after compaction it is the only record of its key that consumers receive.

    Args:
        connection: The connection settings.
        topic: The topic.
        progress: Receives the number of offsets that were read, and of all offsets.

    Raises:
        KafkaUnavailableError: Kafka is unreachable or denies access, or the topic does not exist.
    """
    try:
        async with open_topic_reader(connection.client_options(), topic) as reader:
            begins, ends = await reader.beginnings(), await reader.ends()
            reader.seek(begins)
            total = sum(ends.values()) - sum(begins.values())
            left = total
            while left > 0:
                records = await reader.read()
                yield [decoded for record in records if (decoded := _decode(record)) is not None]
                positions = await reader.positions()
                left = sum(max(0, end - positions[partition]) for partition, end in ends.items())
                progress(total - left, total)
    except (KafkaError, OSError, ResyncRequiredError) as error:  # TimeoutError is an OSError
        raise KafkaUnavailableError(
            f"the topic {topic} cannot be read: {error}; check the KAFKA_* settings"
        ) from None


def _decode(record: Any) -> TopicRecord | None:
    if record.key is None or not _PUBLIC_KEY.fullmatch(record.key):
        return None
    key = record.key.decode()
    with suppress(MalformedRecordError):
        update = parse_record(record)
        if update is not None:
            return TopicRecord(key, update.version, update.value)
    return TopicRecord(key, 0, None if record.value is None else b"")
