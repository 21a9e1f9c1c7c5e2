"""Reads the topic: as it grows, and as a whole."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from projectkeys_consumer.errors import MalformedRecordError, ResyncRequiredError
from projectkeys_consumer.records import parse_record
from projectkeys_consumer.topic_reader import TopicReader, open_topic_reader
from service.domain.differences import TopicRecord
from service.domain.events import TopicMessage
from service.kafka.client import KafkaClient, error_name
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError

_PUBLIC_KEY: Final = re.compile(rb"[0-9a-f]{32}")

_FETCH_MAX_WAIT_MS: Final = 100
"""How long a broker may wait for new records before it responds."""

_START_TIMEOUT: Final = 10.0
_STOP_TIMEOUT: Final = 1.0
"""Seconds."""


@asynccontextmanager
async def tail_topic(
    connection: KafkaConnection, topic: str, *, from_beginning: bool
) -> AsyncIterator[AsyncIterator[TopicMessage]]:
    """Read every record from now on, or from the beginning; the iterator does not end.

    Raises:
        KafkaUnavailableError: Kafka is unreachable or does not respond, or the topic does not exist; also while the
            records are read.
    """
    with _kafka_errors(topic):
        consumer = AIOKafkaConsumer(  # without a group, Kafka stores nothing about it
            **connection.client_options(),
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
        )
    try:
        with _kafka_errors(topic):
            async with asyncio.timeout(_START_TIMEOUT):
                partitions = await _partitions(connection, topic)
                await consumer.start()
                offsets = await (consumer.beginning_offsets if from_beginning else consumer.end_offsets)(partitions)
        # No task runs between the two steps. A consumer with partitions and without positions fetches records from a
        # position that it chooses, and a change of position would race with that fetch: records were returned twice.
        consumer.assign(partitions)
        for partition, offset in offsets.items():
            consumer.seek(partition, offset)
        yield _messages(consumer, topic)
    finally:
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(consumer.stop(), _STOP_TIMEOUT)


async def _partitions(connection: KafkaConnection, topic: str) -> list[TopicPartition]:
    """Return the partitions of a topic that exists: a consumer would make the brokers create a missing one."""
    client = KafkaClient(connection, request_timeout=_START_TIMEOUT)
    try:
        metadata = await client.topic_metadata(topic)
    finally:
        await client.close()
    if metadata.error:
        raise KafkaUnavailableError(
            f"the topic {topic} cannot be read ({error_name(metadata.error)}): check KAFKA_TOPIC"
        )
    return [TopicPartition(topic, number) for number in range(metadata.partitions)]


async def _messages(consumer: AIOKafkaConsumer, topic: str) -> AsyncIterator[TopicMessage]:
    with _kafka_errors(topic):
        async for record in consumer:
            yield _message(record)


@contextmanager
def _kafka_errors(topic: str) -> Iterator[None]:
    """Translate the errors of aiokafka within the block."""
    try:
        yield
    except (KafkaError, OSError, ResyncRequiredError) as error:  # TimeoutError is an OSError
        raise KafkaUnavailableError(
            f"the topic {topic} cannot be read: {str(error) or 'no response in time'}; check the KAFKA_* settings"
        ) from None


def _message(record: Any) -> TopicMessage:
    return TopicMessage(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=(record.key or b"").decode(errors="replace"),
        headers={name: value.decode(errors="replace") for name, value in record.headers},
        value=record.value,
    )


@asynccontextmanager
async def open_reader(connection: KafkaConnection, topic: str) -> AsyncIterator[TopicReader]:
    """Open a reader of all partitions, for the duration of the block.

    Raises:
        KafkaUnavailableError: Kafka is unreachable or denies access, or the topic does not exist; also in the block,
            where the brokers may not have the next offset.
    """
    with _kafka_errors(topic):
        async with open_topic_reader(connection.client_options(), topic) as reader:
            yield reader


async def read_topic(
    connection: KafkaConnection, topic: str, progress: Callable[[int, int], None]
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
    async with open_reader(connection, topic) as reader:
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


def _decode(record: Any) -> TopicRecord | None:
    if record.key is None or not _PUBLIC_KEY.fullmatch(record.key):
        return None
    key = record.key.decode()
    with suppress(MalformedRecordError):
        update = parse_record(record)
        if update is not None:
            return TopicRecord(key, update.version, update.value)
    return TopicRecord(key, 0, None if record.value is None else b"")
