"""Reads the partitions of one topic from given positions."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
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
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from projectkeys_consumer.errors import ResyncRequiredError

_REQUEST_TIMEOUT: Final = 10.0
"""Seconds for a broker's response, and for each step of the start."""

_STOP_TIMEOUT: Final = 5.0
"""Seconds."""

_SILENCE_TIMEOUT: Final = 30.0
"""Seconds without a response for some partition, after which `read` fails and the caller reconnects to the bootstrap
servers: aiokafka itself only asks the brokers that it knows, all of which may have been replaced."""

_ENDS_TIMEOUT: Final = 2.0
"""Seconds for a request of `EndOffsets`."""

_TOPIC_RESOURCE: Final = 2
"""The type of topics in requests for configurations."""

_MAX_RECORDS: Final = 500
"""Records returned at a time; processing them blocks the event loop for about 10 ms."""

_MAX_WAIT_MS: Final = 300
"""Time to wait for new records; the lag of an idle topic is at most twice this."""


class TopicReader:
    """Reads the partitions of one topic; created by `open_topic_reader`."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], cluster: str) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._opened_at = time.time()
        self.cluster = cluster

    @property
    def partitions(self) -> set[int]:
        """The numbers of the partitions."""
        return {tp.partition for tp in self._partitions}

    async def beginnings(self) -> dict[int, int]:
        """Request the offset of the first record of each partition."""
        return _by_number(await self._consumer.beginning_offsets(self._partitions))

    async def ends(self) -> dict[int, int]:
        """Request the offset after the last record of each partition."""
        return _by_number(await self._consumer.end_offsets(self._partitions))

    def seek(self, positions: Mapping[int, int]) -> None:
        """Start or continue reading at these offsets."""
        if not self._consumer.assignment():
            # No task runs between the two steps: a consumer without positions fetches from one that it chooses, and a
            # change of position would race with that fetch. Records were returned twice.
            self._consumer.assign(self._partitions)
        for tp in self._partitions:
            self._consumer.seek(tp, positions[tp.partition])

    async def read(self) -> list[Any]:
        """Return the next records, those of one partition in order; an empty list if none arrive within 0.3 s.

        Raises:
            ResyncRequiredError: the brokers do not have a requested offset.
            KafkaError: the brokers refuse, or their response cannot be read.
            TimeoutError: the brokers have not responded for 30 s.
        """
        try:
            batches = await self._consumer.getmany(timeout_ms=_MAX_WAIT_MS, max_records=_MAX_RECORDS)
        except OffsetOutOfRangeError as error:
            raise ResyncRequiredError(f"the brokers do not have the next offset: {error}") from None
        if time.time() - (self.responded_at or self._opened_at) > _SILENCE_TIMEOUT:
            raise TimeoutError(f"no response for {_SILENCE_TIMEOUT:g} s")
        return [record for batch in batches.values() for record in batch]

    async def positions(self) -> dict[int, int]:
        """Return the offset of the next record of each partition; `read` has returned all records before it."""
        return {tp.partition: await self._consumer.position(tp) for tp in self._partitions}

    def known_ends(self) -> dict[int, int]:
        """Return the offsets after the last records, as reported in the brokers' latest responses."""
        ends = {tp.partition: self._consumer.highwater(tp) for tp in self._partitions}
        return {partition: end for partition, end in ends.items() if end is not None}

    @property
    def responded_at(self) -> float | None:
        """Time after which every partition has had a response (Unix time, seconds); None if a partition had none."""
        responses = [self._consumer.last_poll_timestamp(tp) for tp in self._partitions]
        return None if None in responses else min(responses) / 1000


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in offsets.items()}


@asynccontextmanager
async def open_topic_reader(options: Mapping[str, Any], topic: str) -> AsyncIterator[TopicReader]:
    """Open a reader of all partitions, for the duration of the block.

    Args:
        options: keyword arguments for aiokafka's clients.
        topic: the topic's name.

    Raises:
        KafkaError: Kafka cannot be reached, or the topic does not exist or must not be read.
        TimeoutError: Kafka did not respond.
    """
    timeouts = {**options, "request_timeout_ms": int(_REQUEST_TIMEOUT * 1000)}
    async with asyncio.timeout(_REQUEST_TIMEOUT):
        cluster, numbers = await _find_partitions(timeouts, topic)
    consumer = AIOKafkaConsumer(
        **timeouts,
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_wait_ms=_MAX_WAIT_MS,
    )
    partitions = [TopicPartition(topic, number) for number in numbers]
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT):
            await consumer.start()
        yield TopicReader(consumer, partitions, cluster)
    finally:
        await stop_consumer(consumer)


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer within 5 s, and ignore errors.

    While brokers are unavailable, `AIOKafkaConsumer.stop` can raise the CancelledError of a task of its own, which
    would end the task of the caller, and leave the connections open.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_TIMEOUT):
            await asyncio.gather(consumer.stop(), return_exceptions=True)
            await consumer._client.close()  # noqa: SLF001 -- see above


class EndOffsets:
    """Requests end offsets over connections of its own.

    A broker answers the requests of one connection in order, so behind a fetch they would wait for up to 0.3 s.

    Args:
        read_options: returns the keyword arguments for aiokafka's clients.
        topic: the topic's name.
    """

    def __init__(self, read_options: Callable[[], Mapping[str, Any]], topic: str) -> None:
        self._read_options = read_options
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None

    async def request(self, partitions: Iterable[int]) -> dict[int, int]:
        """Request the offset after the last record of each partition.

        Raises:
            KafkaError: Kafka cannot be reached.
            TimeoutError: Kafka did not respond within 2 s.
        """
        wanted = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            async with asyncio.timeout(_ENDS_TIMEOUT):
                if self._consumer is None:
                    self._consumer = AIOKafkaConsumer(
                        **self._read_options(), request_timeout_ms=int(_REQUEST_TIMEOUT * 1000)
                    )
                    await self._consumer.start()
                return _by_number(await self._consumer.end_offsets(wanted))
        except BaseException:
            await self.close()  # the next request connects to the bootstrap servers
            raise

    async def close(self) -> None:
        """Close the connections."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_consumer(consumer)


async def request_delete_retention(options: Mapping[str, Any], topic: str) -> float | None:
    """Request the topic's ``delete.retention.ms``; return it in seconds, or None if it must not be read.

    Raises:
        KafkaError: Kafka cannot be reached.
    """
    request = DescribeConfigsRequest([(_TOPIC_RESOURCE, topic, ["delete.retention.ms"])])
    async with asyncio.timeout(_REQUEST_TIMEOUT):
        [found] = (await _request_any(options, request)).to_object()["resources"]
    values = [entry["config_value"] for entry in found["config_entries"]]
    return int(values[0]) / 1000 if not found["error_code"] and values else None


async def _find_partitions(options: Mapping[str, Any], topic: str) -> tuple[str, list[int]]:
    """Return the cluster's id and the numbers of the topic's partitions.

    A request of its own, because a consumer's metadata request makes the brokers create an unknown topic.
    """
    request = MetadataRequest([topic], allow_auto_topic_creation=False)
    response = (await _request_any(options, request)).to_object()
    [found] = response["topics"]
    error = for_code(found["error_code"])
    if error is UnknownTopicOrPartitionError:
        raise error(f"there is no topic {topic}")
    if found["error_code"] or not found["partitions"]:
        raise error(f"the topic {topic} cannot be read")
    return response["cluster_id"], sorted(partition["partition"] for partition in found["partitions"])


async def _request_any(options: Mapping[str, Any], request: Any) -> Any:
    """Return the response of the first bootstrap server that responds.

    aiokafka's own client only logs why a server cannot be used, for example a wrong password.
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
        except (OSError, KafkaError) as error:  # TimeoutError is an OSError
            reasons.append(f"{host}:{port}: {str(error) or type(error).__name__}")
    raise KafkaConnectionError("; ".join(reasons))
