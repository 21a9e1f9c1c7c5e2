"""Reads the topic as it grows, for people to watch."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from service.consumer.errors import MalformedError, ReadAnewError
from service.consumer.log import open_log
from service.consumer.records import told_by
from service.domain.differences import TopicRecord
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError

_PUBLIC_KEY: Final = re.compile(rb"[0-9a-f]{32}")

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


async def history(
    connection: KafkaConnection, topic: str, *, progress: Callable[[int, int], None]
) -> AsyncGenerator[list[TopicRecord], None]:
    """Every record of a key, those of one key in their order, some hundred at a time.

    As the consumer kit understands them: a record that it would pass over still hides those before it from readers
    who come after compaction, so it is given too.

    Args:
        connection: how Kafka is reached.
        topic: the topic.
        progress: is told how many offsets have been passed, and how many there are.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached or refuses, or there is no such topic.
    """
    try:
        async with open_log(connection.client_options(), topic) as log:
            begins, ends = await log.beginnings(), await log.ends()
            log.seek(begins)
            total = sum(ends.values()) - sum(begins.values())
            left = total
            while left > 0:
                records = await log.read()
                yield [heard for record in records if (heard := _heard(record)) is not None]
                positions = await log.positions()
                left = sum(max(0, end - positions[partition]) for partition, end in ends.items())
                progress(total - left, total)
    except (KafkaError, OSError, ReadAnewError) as error:  # TimeoutError is an OSError
        raise KafkaUnavailableError(f"the topic {topic} cannot be read: {error}; look at KAFKA_*") from None


def _heard(record: Any) -> TopicRecord | None:
    if record.key is None or not _PUBLIC_KEY.fullmatch(record.key):
        return None
    key = record.key.decode()
    with suppress(MalformedError):
        told = told_by(record)
        if told is not None:
            return TopicRecord(key, told.version, told.value)
    return TopicRecord(key, 0, None if record.value is None else b"")
