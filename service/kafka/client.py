"""The requests of Kafka's protocol that this service needs, built on aiokafka's requests and record batches.

This module and `broker_connections` use undocumented parts of aiokafka, whose version is pinned for that reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from service.concurrency.outage import Outage
from service.kafka.broker_connections import Address, BrokerConnections
from service.kafka.config import KafkaConnection
from service.kafka.types import Record

_TRANSACTION_TIMEOUT_MS = 60_000  # required by the request; no transaction is ever started
_BROKER_TIMEOUT_SHARE = 0.9  # of the request timeout: the broker responds with an error before it ends
# The response to the first request after a rejected token, which aiokafka does not report.
_NOT_AUTHENTICATED = 34
_TRANSACTIONAL_ID, _TOPIC = 1, 2  # types of coordinator and of configuration resource


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """Metadata of a topic.

    Attributes:
        error: Kafka's error code; 0: none.
        partitions: The number of partitions.
        leaders: The leader of each partition that has one.
        replication_factor: That of the partition with the fewest replicas; 0 without partitions.
        brokers: The number of brokers in the cluster.
    """

    error: int
    partitions: int
    leaders: dict[int, Address]
    replication_factor: int
    brokers: int


def error_name(code: int) -> str:
    """Return the name and the number of an error code of Kafka's protocol."""
    hint = ": the credentials are not accepted" if code == _NOT_AUTHENTICATED else ""
    return f"{for_code(code).__name__}, code {code}{hint}"


def encode_batch(
    records: Iterable[Record], *, producer_id: int, epoch: int, sequence: int, limit: int
) -> tuple[bytes, int]:
    """Encode the leading records that fit into `limit` bytes, and at least one.

    Returns:
        The batch, and how many records it holds.
    """
    magic, compression, transactional = 2, 0, 0
    builder = DefaultRecordBatchBuilder(magic, compression, transactional, producer_id, epoch, sequence, limit)
    count = 0
    for record in records:
        if builder.append(count, record.timestamp_ms, record.key, record.value, record.headers) is None:
            break
        count += 1
    return bytes(builder.build()), count


class KafkaClient:
    """Sends requests to the brokers, one per call; nothing is retried.

    A call raises `KafkaUnavailableError` if no broker responds, or the one that must.
    """

    def __init__(self, connection: KafkaConnection, *, request_timeout: float, outage: Outage | None = None) -> None:
        """Store the settings; connecting and waiting for a response may take `request_timeout` seconds each.

        `outage` records that no broker responds, and delays further attempts.
        """
        self._connections = BrokerConnections(connection, request_timeout=request_timeout, outage=outage)
        self._broker_timeout_ms = int(request_timeout * _BROKER_TIMEOUT_SHARE * 1000)

    async def topic_metadata(self, topic: str) -> TopicMetadata:
        """Return the topic's metadata; a missing topic is not created.

        Raises:
            KafkaUnreachableError: No broker responds or accepts the credentials.
        """
        response = (
            await self._connections.request_any(MetadataRequest([topic], allow_auto_topic_creation=False))
        ).to_object()
        nodes = {node["node_id"]: Address(node["host"], node["port"]) for node in response["brokers"]}
        self._connections.brokers = list(nodes.values())
        [described] = response["topics"]
        if described["error_code"] == _NOT_AUTHENTICATED:
            raise self._connections.unreachable(error_name(_NOT_AUTHENTICATED))
        self._connections.reachable()
        partitions = described["partitions"]
        return TopicMetadata(
            error=described["error_code"],
            partitions=len(partitions),
            leaders={each["partition"]: nodes[each["leader"]] for each in partitions if each["leader"] in nodes},
            replication_factor=min((len(each["replicas"]) for each in partitions), default=0),
            brokers=len(nodes),
        )

    async def topic_config(self, topic: str) -> tuple[int, dict[str, str]]:
        """Return an error code (0: none) and the topic's configuration, defaults included."""
        response = (await self._connections.request_any(DescribeConfigsRequest([(_TOPIC, topic, None)]))).to_object()
        [described] = response["resources"]
        entries = described["config_entries"]
        return described["error_code"], {entry["config_names"]: entry["config_value"] for entry in entries}

    async def create_topic(
        self, topic: str, *, partitions: int, replication_factor: int, config: Mapping[str, str]
    ) -> tuple[int, str]:
        """Create the topic and return an error code (0: none) and the broker's message."""
        definition: tuple[Any, ...] = (topic, partitions, replication_factor, [], list(config.items()))
        request = CreateTopicsRequest([definition], self._broker_timeout_ms, validate_only=False)
        # With KRaft, every broker forwards this to the controller.
        [(_, code, message)] = (await self._connections.request_any(request)).topic_errors
        return code, message or error_name(code)

    async def coordinator(self, transactional_id: str) -> tuple[int, Address]:
        """Return an error code (0: none) and the broker that keeps the epoch of a transactional id."""
        response = await self._connections.request_any(FindCoordinatorRequest(transactional_id, _TRANSACTIONAL_ID))
        self._connections.reachable()
        return response.error_code, Address(response.host, response.port)

    async def init_producer_id(self, coordinator: Address, transactional_id: str) -> tuple[int, int, int]:
        """Raise a transactional id's epoch; return an error code (0: none), the producer id, the epoch."""
        request = InitProducerIdRequest(transactional_id, _TRANSACTION_TIMEOUT_MS)
        response = await self._connections.request(coordinator, request)
        return response.error_code, response.producer_id, response.producer_epoch

    async def produce(
        self, leader: Address, topic: str, batches: Sequence[tuple[int, bytes]]
    ) -> dict[int, tuple[int, int]]:
        """Append one encoded batch to each of the partitions and wait until every in-sync replica has it.

        Args:
            leader: The broker that leads all of these partitions.
            topic: The topic.
            batches: Partition and batch; each partition once.

        Returns:
            For each partition an error code (0: none) and the offset of the batch's first record.

        Raises:
            KafkaUnavailableError: The leader does not respond; the batches may have been appended nevertheless.
        """
        every_replica = -1
        request = ProduceRequest(None, every_replica, self._broker_timeout_ms, [(topic, list(batches))])
        response = await self._connections.request(leader, request, for_records=True)
        [(_, partitions)] = response.topics
        return {partition: (code, offset) for partition, code, offset, *_ in partitions}

    async def close(self) -> None:
        """Close every connection; pending requests fail. Takes at most one second."""
        await self._connections.close()
