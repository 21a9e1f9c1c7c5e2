"""Reads the topic from its first record to where it ended when the reading began."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Final

from aiokafka.errors import KafkaError

from service.consumer.errors import MalformedError, ReadAnewError
from service.consumer.log import open_log
from service.consumer.records import told_by
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
