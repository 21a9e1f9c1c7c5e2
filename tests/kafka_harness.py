"""Topics of one test, their records, and brokers behind a proxy."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from projectkeys_servers.ports import free_port
from service.kafka.broker_connections import Address
from service.kafka.client import KafkaClient
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError
from service.kafka.producer import FencedProducer
from service.kafka.types import Batch, Outcome, ProducerSession, Record
from testkit.proxy import Proxy

_PATIENCE = 15.0  # seconds


async def new_topic(
    bootstrap: str, *, name: str = "", partitions: int = 12, config: Mapping[str, str] | None = None
) -> str:
    """Create a topic, with a name of its own unless one is given, and wait until each partition has a leader."""
    topic = name or f"test-{uuid.uuid4().hex}"
    client = KafkaClient(KafkaConnection((bootstrap,)), request_timeout=10)
    try:
        code, words = await client.create_topic(
            topic, partitions=partitions, replication_factor=1, config=config or {}
        )
        assert code == 0, words
        async with asyncio.timeout(_PATIENCE):
            while True:
                if len((await client.topic_metadata(topic)).leaders) == partitions:
                    return topic
                await asyncio.sleep(0.02)
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _administering(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def configure(bootstrap: str, topic: str, config: Mapping[str, str]) -> None:
    """Make this the topic's configuration, beside the broker's defaults."""
    async with _administering(bootstrap) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(config))])


async def delete_records(bootstrap: str, topic: str, *, before: int) -> None:
    """Delete the records of partition 0 before an offset, as the retention of a topic does."""
    async with _administering(bootstrap) as admin:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before)})


async def add_partitions(bootstrap: str, topic: str, total: int) -> None:
    """Extend the topic to ``total`` partitions."""
    async with _administering(bootstrap) as admin:
        await admin.create_partitions({topic: NewPartitions(total)})


async def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete the topic with all that is in it."""
    async with _administering(bootstrap) as admin:
        await admin.delete_topics([topic])


@dataclass(frozen=True, slots=True)
class FreshTopic:
    """A topic of one test, and a producer for it."""

    bootstrap: str
    name: str
    producer: FencedProducer

    async def keys(self, partition: int = 0) -> list[str]:
        """Return the keys in the partition, in order, without the fence records."""
        records = await read_log(self.bootstrap, self.name, partition)
        return [record.key.decode() for record in records if record.key != b"_fence"]


@contextlib.asynccontextmanager
async def fresh_topic(bootstrap: str, *, config: Mapping[str, str] | None = None) -> AsyncIterator[FreshTopic]:
    """Make a topic of twelve partitions and a producer for it."""
    topic = await new_topic(bootstrap, config=config)
    async with producer_for(bootstrap, topic) as producer:
        yield FreshTopic(bootstrap, topic, producer)


@contextlib.asynccontextmanager
async def producer_for(bootstrap: str, topic: str, *, request_timeout: float = 10.0) -> AsyncIterator[FencedProducer]:
    """Make a producer that is closed in the end; `bootstrap` may be several addresses with commas between."""
    connection = KafkaConnection(tuple(bootstrap.split(",")))
    producer = FencedProducer(connection, topic=topic, request_timeout=request_timeout)
    try:
        yield producer
    finally:
        await producer.close()


def record(key: str, *, value: bytes | None = b"{}") -> Record:
    """Return a small record."""
    return Record(key.encode(), value, [("ce_id", key.encode())], 1_700_000_000_000)


async def send(producer: FencedProducer, session: ProducerSession, *keys: str) -> Outcome:
    """Send one batch of small records of one session."""
    [outcome] = await producer.send([Batch(session, [record(key) for key in keys])])
    return outcome


async def open_patiently(producer: FencedProducer, shard: int) -> ProducerSession:
    """Open a shard, trying again while the brokers are still busy with becoming its leader or coordinator."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                return await producer.open(shard)
            except KafkaUnavailableError:
                await asyncio.sleep(0.05)


async def read_log(bootstrap: str, topic: str, partition: int) -> list[ConsumerRecord]:
    """Return everything that a partition holds now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        where = TopicPartition(topic, partition)
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        end = (await consumer.end_offsets([where]))[where]
        records: list[ConsumerRecord] = []
        async with asyncio.timeout(_PATIENCE):
            while await consumer.position(where) < end:
                records += (await consumer.getmany(where, timeout_ms=500)).get(where, [])
        return records
    finally:
        await consumer.stop()


class Relay(Proxy):
    """A proxy in front of a broker."""

    @property
    def broker_address(self) -> Address:
        """The address as the Kafka client stores it."""
        return Address("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def relay_to(target: str) -> AsyncIterator[Relay]:
    """Run a relay to ``target``, a `host:port`, during the block."""
    relay = Relay(free_port(), int(target.rpartition(":")[2]))
    await relay.listen()
    try:
        yield relay
    finally:
        await relay.close()
