"""Reads the topic: as it grows, and as a whole."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from math import inf
from typing import Any, Final

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

_REQUEST_TIMEOUT: Final = 10.0
"""Seconds."""

_SILENCE_TIMEOUT: Final = 4.0
"""Seconds after which a broker that does not respond counts as unavailable for `follow_topic`."""


@asynccontextmanager
async def tail_topic(
    connection: KafkaConnection, topic: str, *, from_beginning: bool
) -> AsyncIterator[AsyncIterator[TopicMessage]]:
    """Read every record from now on, or from the beginning; the iterator does not end.

    Raises:
        KafkaUnavailableError: Kafka is unreachable or does not respond, or the topic does not exist; also while the
            records are read.
    """
    async with _opened(connection, topic) as reader:
        with _kafka_errors(topic):
            reader.seek(await (reader.beginnings() if from_beginning else reader.ends()))
        yield (message async for batch in _batches(reader, topic) for message in batch)


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
        async with _opened(connection, topic) as reader:
            yield reader


@asynccontextmanager
async def _opened(connection: KafkaConnection, topic: str) -> AsyncIterator[TopicReader]:
    """Open a reader; do not translate errors of the block, which can be those of its output."""
    async with AsyncExitStack() as stack:
        with _kafka_errors(topic):
            await _require_topic(connection, topic)
            reader = await stack.enter_async_context(open_topic_reader(connection.client_options(), topic))
        yield reader


async def _require_topic(connection: KafkaConnection, topic: str) -> None:
    """Raise an error that says which setting may be wrong; aiokafka's errors do not."""
    client = KafkaClient(connection, request_timeout=_REQUEST_TIMEOUT)
    try:
        metadata = await client.topic_metadata(topic)
    finally:
        await client.close()
    if metadata.error:
        raise KafkaUnavailableError(
            f"the topic {topic} cannot be read ({error_name(metadata.error)}): check KAFKA_TOPIC"
        )


@asynccontextmanager
async def follow_topic(
    connection: KafkaConnection, topic: str, max_lag: int, offsets: dict[int, int]
) -> AsyncIterator[AsyncIterator[list[TopicMessage]]]:
    """Read the records from ``offsets`` on if at most ``max_lag`` follow, otherwise from the end; set ``offsets``.

    The iterator yields an empty list if no record arrives within 0.3 s.

    Raises:
        KafkaUnavailableError: As `open_reader`, or a broker does not respond; also while the records are read.
    """
    async with _opened(connection, topic) as reader:
        with _kafka_errors(topic):
            ends = await reader.ends()
        lags = [end - offsets.get(partition, end + 1) for partition, end in ends.items()]
        if min(lags) < 0 or sum(lags) > max_lag:
            offsets.update(ends)
        reader.seek(offsets)
        yield _batches(reader, topic, silence=_SILENCE_TIMEOUT)


async def _batches(reader: TopicReader, topic: str, *, silence: float = inf) -> AsyncIterator[list[TopicMessage]]:
    opened_at = time.time()
    while True:
        with _kafka_errors(topic):
            records = await reader.read()
            if time.time() - (reader.responded_at or opened_at) > silence:
                raise TimeoutError
        yield list(map(_message, records))
        await asyncio.sleep(0)  # many records must not occupy the event loop


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
