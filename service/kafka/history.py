"""Reads the topic from its first record to where it ended when the reading began."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Final

from aiokafka.errors import KafkaError

from projectkeys_consumer.errors import MalformedRecordError, ResyncRequiredError
from projectkeys_consumer.records import parse_record
from projectkeys_consumer.topic_reader import open_topic_reader
from service.domain.differences import TopicRecord
from service.kafka.connection import KafkaConnection
from service.kafka.errors import KafkaUnavailableError

_PUBLIC_KEY: Final = re.compile(rb"[0-9a-f]{32}")


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
        async with open_topic_reader(connection.client_options(), topic) as reader:
            begins, ends = await reader.beginnings(), await reader.ends()
            reader.seek(begins)
            total = sum(ends.values()) - sum(begins.values())
            left = total
            while left > 0:
                records = await reader.read()
                yield [heard for record in records if (heard := _heard(record)) is not None]
                positions = await reader.positions()
                left = sum(max(0, end - positions[partition]) for partition, end in ends.items())
                progress(total - left, total)
    except (KafkaError, OSError, ResyncRequiredError) as error:  # TimeoutError is an OSError
        raise KafkaUnavailableError(f"the topic {topic} cannot be read: {error}; look at KAFKA_*") from None


def _heard(record: Any) -> TopicRecord | None:
    if record.key is None or not _PUBLIC_KEY.fullmatch(record.key):
        return None
    key = record.key.decode()
    with suppress(MalformedRecordError):
        update = parse_record(record)
        if update is not None:
            return TopicRecord(key, update.version, update.value)
    return TopicRecord(key, 0, None if record.value is None else b"")
