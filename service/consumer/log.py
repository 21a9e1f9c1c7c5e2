"""The topic as a log of records: found, read from given positions, watched for silence."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from service.consumer.errors import ReadAnewError

_ANSWER_WITHIN: Final = 10.0
"""Seconds for a broker's answer, and for the beginning as a whole."""

_STOP_WITHIN: Final = 5.0
_SILENT: Final = 30.0
"""Seconds without an answer for some partition, after which everything is begun again from the bootstrap addresses:
aiokafka itself only asks the brokers that it knows, which may all have been replaced."""

_MOST: Final = 500
"""Records handled at a time: for some 10 ms the event loop does nothing else."""

_WAIT_MS: Final = 300
"""For how long nothing may come before the silence is looked at: the lag of an idle topic is twice this."""


class Log:
    """Reads the partitions of one topic; made by `open_log`."""

    def __init__(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], cluster: str
    ) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._opened_at = time.time()
        self.cluster = cluster

    @property
    def partitions(self) -> set[int]:
        """Their numbers."""
        return {one.partition for one in self._partitions}

    async def beginnings(self) -> dict[int, int]:
        """The offset of each partition's first record."""
        return _numbered(await self._consumer.beginning_offsets(self._partitions))

    async def ends(self) -> dict[int, int]:
        """The offset after each partition's last record, as the brokers say now."""
        return _numbered(await self._consumer.end_offsets(self._partitions))

    def seek(self, positions: Mapping[int, int]) -> None:
        """Read on from these offsets."""
        for one in self._partitions:
            self._consumer.seek(one, positions[one.partition])

    async def read(self) -> list[Any]:
        """The next records, those of one partition in their order; none if none come for a moment.

        Raises:
            ReadAnewError: the brokers have nothing at a position that was to be read on from.
            KafkaError: they refuse, or what they have cannot be read.
            TimeoutError: they have not answered for long.
        """
        try:
            batches = await self._consumer.getmany(timeout_ms=_WAIT_MS, max_records=_MOST)
        except OffsetOutOfRangeError as error:
            raise ReadAnewError(f"the brokers do not have what comes next: {error}") from None
        if time.time() - (self.answered_at or self._opened_at) > _SILENT:
            raise TimeoutError(f"no answer for {_SILENT:g} s")
        return [record for batch in batches.values() for record in batch]

    async def positions(self) -> dict[int, int]:
        """The offset of the next record of each partition; `read` has given all before it."""
        return {one.partition: await self._consumer.position(one) for one in self._partitions}

    def known_ends(self) -> dict[int, int]:
        """The offsets after the last records, as far as the brokers' latest answers told."""
        ends = {one.partition: self._consumer.highwater(one) for one in self._partitions}
        return {partition: end for partition, end in ends.items() if end is not None}

    @property
    def answered_at(self) -> float | None:
        """When every partition had an answer since (Unix time, seconds); None if one never had."""
        answers = [self._consumer.last_poll_timestamp(one) for one in self._partitions]
        return None if None in answers else min(answers) / 1000


def _numbered(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {one.partition: offset for one, offset in offsets.items()}


@asynccontextmanager
async def open_log(options: Mapping[str, Any], topic: str) -> AsyncIterator[Log]:
    """The topic, for the time of the block.

    Args:
        options: how Kafka is reached: the keyword arguments of aiokafka's clients.
        topic: its name.

    Raises:
        KafkaError: Kafka cannot be reached, or has no such topic for us.
        TimeoutError: it did not answer.
    """
    timeouts = {**options, "request_timeout_ms": int(_ANSWER_WITHIN * 1000)}
    async with asyncio.timeout(_ANSWER_WITHIN):
        cluster, numbers = await _find(timeouts, topic)
    consumer = AIOKafkaConsumer(
        **timeouts,
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_wait_ms=_WAIT_MS,
    )
    partitions = [TopicPartition(topic, number) for number in numbers]
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            await consumer.start()
        consumer.assign(partitions)
        yield Log(consumer, partitions, cluster)
    finally:
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(consumer.stop(), _STOP_WITHIN)


async def _find(options: Mapping[str, Any], topic: str) -> tuple[str, list[int]]:
    """The cluster's id and the topic's partitions.

    Asked for first, and in this way, because a consumer has the brokers create a topic that they do not know.
    """
    request = MetadataRequest([topic], allow_auto_topic_creation=False)
    answer = (await _ask_any(options, request)).to_object()
    [found] = answer["topics"]
    error = for_code(found["error_code"])
    if error is UnknownTopicOrPartitionError:
        raise error(f"there is no topic {topic}")
    if found["error_code"] or not found["partitions"]:
        raise error(f"the topic {topic} cannot be read")
    return answer["cluster_id"], sorted(one["partition"] for one in found["partitions"])


async def _ask_any(options: Mapping[str, Any], request: Any) -> Any:
    """The answer of the first of the bootstrap servers that gives one.

    aiokafka's client would tell its own log alone why none does: a wrong password, say.
    """
    security = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    reasons = []
    for host, port, _ in collect_hosts(options["bootstrap_servers"]):
        try:
            connection = await create_conn(host, port, **security)
            try:
                return await connection.send(request)
            finally:
                connection.close()
        except (OSError, KafkaError) as error:  # a time-out is an OSError
            reasons.append(f"{host}:{port}: {str(error) or type(error).__name__}")
    raise KafkaConnectionError("; ".join(reasons))
