"""Speaks Kafka's protocol with the brokers, on aiokafka's connections and record batches.

This is the one module that rests on parts of aiokafka that are not documented; the version is pinned for it.
It never repeats a request and runs nothing in the background but the reading of answers.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection, CloseReason, collect_hosts, create_conn
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from service.kafka.connection import KafkaConnection
from service.kafka.errors import KafkaUnavailableError
from service.kafka.session import Record

_IDLE_MS = 540_000  # a minute before the brokers, whose default is ten, would close the connection
_CLOSE_TIMEOUT = 1.0  # seconds; a peer that does not answer our farewell must not hold up the process
_TRANSACTION_TIMEOUT_MS = 60_000  # asked for by the request; no transaction is ever begun
_BROKER_SHARE = 0.9  # of our timeout, for the broker: it gives up first and says so, instead of a broken wait
_TRY_SHARE = 0.3  # of our timeout, for one of several brokers that could answer: leaves time for the next one
_TRANSACTIONAL_ID, _TOPIC = 1, 2  # kinds of coordinator and of configuration


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """What the brokers say of a topic: its error code (0: none), partitions' leaders, replicas, brokers."""

    error: int
    partitions: int
    leaders: dict[int, Address]
    replication_factor: int
    brokers: int


def error_name(code: int) -> str:
    """Return the words for a code of Kafka's protocol."""
    return f"{for_code(code).__name__}, code {code}"


def encode_batch(
    records: Sequence[Record], *, producer_id: int, epoch: int, sequence: int, limit: int
) -> tuple[bytes, int]:
    """Encode the leading records that fit into `limit` bytes, and at least one.

    Returns:
        The batch, and how many records it holds.
    """
    magic, compression, transactional = 2, 0, 0
    builder = DefaultRecordBatchBuilder(
        magic, compression, transactional, producer_id, epoch, sequence, limit
    )
    count = 0
    for record in records:
        headers = list(record.headers)
        if builder.append(count, record.timestamp_ms, record.key, record.value, headers) is None:
            break
        count += 1
    return bytes(builder.build()), count


class _Line(NamedTuple):
    """A connection's purpose; a broker answers one request of a connection at a time.

    Records have lines of their own: one that waits for a slow replica must not hold up the finding of another
    leader, and a question that is given up must not break off what is being appended.
    """

    address: Address
    for_records: bool


class KafkaClient:
    """Connections to the brokers, made when they are first needed and again when they were lost."""

    def __init__(self, connection: KafkaConnection, *, request_timeout: float) -> None:
        """Keep the settings; a connection, and an answer, may take `request_timeout` seconds each.

        Raises:
            OSError: A certificate or key file cannot be read, or is not one.
        """
        self._bootstrap = list(connection.bootstrap_servers)
        self._options = connection.security_options()
        self._timeout = request_timeout
        self._connections: dict[_Line, AIOKafkaConnection] = {}
        self._locks: defaultdict[_Line, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._brokers: list[Address] = []

    async def topic_metadata(self, topic: str) -> TopicMetadata:
        """Ask for the topic's partitions; never makes the brokers create it.

        Raises:
            KafkaUnavailableError: No broker answered.
        """
        response = (
            await self._ask_any(MetadataRequest([topic], allow_auto_topic_creation=False))
        ).to_object()
        nodes = {node["node_id"]: Address(node["host"], node["port"]) for node in response["brokers"]}
        self._brokers = list(nodes.values())
        [described] = response["topics"]
        partitions = described["partitions"]
        return TopicMetadata(
            error=described["error_code"],
            partitions=len(partitions),
            leaders={
                each["partition"]: nodes[each["leader"]] for each in partitions if each["leader"] in nodes
            },
            replication_factor=min((len(each["replicas"]) for each in partitions), default=0),
            brokers=len(nodes),
        )

    async def topic_config(self, topic: str) -> tuple[int, dict[str, str]]:
        """Return an error code (0: none) and the topic's configuration, defaults included.

        Raises:
            KafkaUnavailableError: No broker answered.
        """
        response = (await self._ask_any(DescribeConfigsRequest([(_TOPIC, topic, None)]))).to_object()
        [described] = response["resources"]
        entries = described["config_entries"]
        return described["error_code"], {entry["config_names"]: entry["config_value"] for entry in entries}

    async def create_topic(
        self, topic: str, *, partitions: int, replication_factor: int, config: Mapping[str, str]
    ) -> tuple[int, str]:
        """Create the topic and return an error code (0: none) and the broker's words for it.

        Raises:
            KafkaUnavailableError: No broker answered.
        """
        wanted: tuple[Any, ...] = (topic, partitions, replication_factor, [], list(config.items()))
        request = CreateTopicsRequest([wanted], self._broker_timeout_ms, validate_only=False)
        # With KRaft, every broker passes this on to the controller.
        [(_, code, message)] = (await self._ask_any(request)).topic_errors
        return code, message or error_name(code)

    async def coordinator(self, transactional_id: str) -> tuple[int, Address]:
        """Return an error code (0: none) and the broker that keeps the epoch of a transactional id.

        Raises:
            KafkaUnavailableError: No broker answered.
        """
        response = await self._ask_any(FindCoordinatorRequest(transactional_id, _TRANSACTIONAL_ID))
        return response.error_code, Address(response.host, response.port)

    async def init_producer_id(self, coordinator: Address, transactional_id: str) -> tuple[int, int, int]:
        """Raise a transactional id's epoch; return an error code (0: none), the producer id, the epoch.

        Raises:
            KafkaUnavailableError: The coordinator did not answer.
        """
        request = InitProducerIdRequest(transactional_id, _TRANSACTION_TIMEOUT_MS)
        response = await self._ask(_Line(coordinator, for_records=False), request)
        return response.error_code, response.producer_id, response.producer_epoch

    async def produce(
        self, leader: Address, topic: str, batches: Sequence[tuple[int, bytes]]
    ) -> dict[int, tuple[int, int]]:
        """Append one encoded batch to each of the partitions and wait until every replica in sync has it.

        Args:
            leader: The broker that leads all of these partitions.
            topic: The topic.
            batches: Partition and batch; each partition once.

        Returns:
            For each partition an error code (0: none) and the offset of the batch's first record.

        Raises:
            KafkaUnavailableError: No answer came; the batches may have been appended all the same.
        """
        every_replica = -1
        request = ProduceRequest(None, every_replica, self._broker_timeout_ms, [(topic, list(batches))])
        response = await self._ask(_Line(leader, for_records=True), request)
        [(_, partitions)] = response.topics
        return {partition: (code, offset) for partition, code, offset, *_ in partitions}

    async def close(self) -> None:
        """Close every connection; requests under way fail. Ends within a second."""
        farewells = [connection.close() for connection in self._connections.values()]
        self._connections.clear()
        if farewells:
            await asyncio.wait(farewells, timeout=_CLOSE_TIMEOUT)

    @property
    def _broker_timeout_ms(self) -> int:
        return int(self._timeout * _BROKER_SHARE * 1000)

    async def _ask_any(self, request: Any) -> Any:
        """Ask whichever broker answers: one already connected, else one known, else the bootstrap servers."""
        connected = [
            line.address
            for line, connection in self._connections.items()
            if connection.connected() and not line.for_records
        ]
        known = random.sample(self._brokers, len(self._brokers))
        bootstrap = [Address(host, port) for host, port, _ in collect_hosts(self._bootstrap)]
        reasons: list[str] = []
        for address in dict.fromkeys([*connected, *known, *bootstrap]):
            try:
                async with asyncio.timeout(self._timeout * _TRY_SHARE):
                    return await self._ask(_Line(address, for_records=False), request)
            except TimeoutError:
                reasons.append(f"{address}: no answer")
            except KafkaUnavailableError as error:
                reasons.append(str(error))
        raise KafkaUnavailableError("; ".join(reasons))

    async def _ask(self, line: _Line, request: Any) -> Any:
        connection = await self._connected(line)
        try:
            return await connection.send(request)
        except (TimeoutError, asyncio.CancelledError) as error:
            # A silent connection must not be the one that is asked next time.
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            if isinstance(error, asyncio.CancelledError):
                raise
            reason = f"no answer within {self._timeout:g} s"
        except (KafkaError, NotImplementedError) as error:  # the latter: no common version of the request
            reason = _words(error)
        raise KafkaUnavailableError(f"{line.address}: {reason}")

    async def _connected(self, line: _Line) -> AIOKafkaConnection:
        connection = self._connections.get(line)
        if connection is not None and connection.connected():
            return connection
        async with self._locks[line]:
            connection = self._connections.get(line)
            if connection is None or not connection.connected():
                connection = await self._connect(line.address)
                self._connections[line] = connection
            return connection

    async def _connect(self, address: Address) -> AIOKafkaConnection:
        timeout_ms = int(self._timeout * 1000)
        try:
            return await create_conn(
                *address, request_timeout_ms=timeout_ms, max_idle_ms=_IDLE_MS, **self._options
            )
        except (OSError, KafkaError, ValueError) as error:
            raise KafkaUnavailableError(f"{address}: {_words(error)}") from None


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
