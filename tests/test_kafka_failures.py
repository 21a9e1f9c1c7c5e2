"""The fenced producer when Kafka is down, does not respond or denies access: an error within the timeout."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from projectkeys_servers.ports import free_port
from service.concurrency.outage import Outage
from service.kafka.broker_connections import Address, _ConnectionKey
from service.kafka.client import KafkaClient
from service.kafka.config import KafkaConnection
from service.kafka.errors import (
    FencedError,
    KafkaFailureError,
    KafkaUnavailableError,
    KafkaUnreachableError,
    RecordRejectedError,
)
from service.kafka.producer import FencedProducer
from service.kafka.types import Outcome, ProducerSession
from testkit.polling import poll_until
from tests.kafka_harness import (
    FreshTopic,
    fresh_topic,
    new_topic,
    open_patiently,
    producer_for,
    relay_to,
    send,
)


@pytest.fixture
async def topic(kafka_bootstrap: str) -> AsyncIterator[FreshTopic]:
    """A topic of twelve partitions and a producer for it."""
    async with fresh_topic(kafka_bootstrap) as topic:
        yield topic


async def test_a_lost_response_is_a_failure_and_a_retry_makes_one_duplicate(topic: FreshTopic) -> None:
    """The record was appended, which the producer cannot know; it is sent again in a new session."""
    async with (
        producer_for(topic.bootstrap, topic.name, request_timeout=1) as producer,
        relay_to(topic.bootstrap) as relay,
    ):
        session = await open_patiently(producer, 0)
        producer._leaders = {0: relay.broker_address}
        await send(producer, session, "before")
        relay.to_client.clear()
        began = time.monotonic()
        unknown = await send(producer, session, "twice")
        assert time.monotonic() - began < 3
        dead = await send(producer, session, "never")
        await send(producer, await open_patiently(producer, 0), "twice")
    assert isinstance(unknown.error, KafkaUnavailableError)
    assert "within 1 s" in str(unknown.error)
    assert isinstance(dead.error, KafkaUnavailableError)
    assert await topic.keys() == ["before", "twice", "twice"]


async def test_a_connection_that_was_closed_while_idle_is_reopened(topic: FreshTopic) -> None:
    """Brokers close idle connections; the next batch opens a new one and succeeds."""
    session = await open_patiently(topic.producer, 0)
    async with relay_to(topic.bootstrap) as relay:
        topic.producer._leaders = {0: relay.broker_address}
        await send(topic.producer, session, "before")
        connection = topic.producer._client._connections._connections[
            _ConnectionKey(relay.broker_address, for_records=True)
        ]
        relay.reset_connections()
        async with asyncio.timeout(5):
            await connection._closed_fut
        assert (await send(topic.producer, session, "after")).error is None
    assert await topic.keys() == ["before", "after"]


async def test_a_cancelled_send_makes_the_session_unusable(topic: FreshTopic) -> None:
    """Whether the records were appended is unknown, so no sequence number may follow theirs."""
    session = await open_patiently(topic.producer, 0)
    async with relay_to(topic.bootstrap) as relay:
        topic.producer._leaders = {0: relay.broker_address}
        relay.to_server.clear()
        sending = asyncio.create_task(send(topic.producer, session, "lost"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sending, 0.2)
        assert isinstance((await send(topic.producer, session, "more")).error, KafkaUnavailableError)


async def test_an_outage_of_kafka_is_one_log_event_and_its_end_another(kafka_bootstrap: str) -> None:
    """During the backoff requests fail with the same reason, without an attempt."""
    with capture_logs() as events:
        connection = KafkaConnection(("127.0.0.1:1",))
        client = KafkaClient(connection, request_timeout=5.0, outage=Outage("kafka"))
        for _ in range(3):
            with pytest.raises(KafkaUnreachableError, match=r"127\.0\.0\.1:1"):
                await client.topic_metadata("any")
        client._connections._bootstrap = [kafka_bootstrap]
        await poll_until(lambda: _responds(client))
        await client.close()
    assert [event["event"] for event in events] == ["kafka_unavailable", "kafka_recovered"]
    assert (events[0]["host"], events[0]["port"], events[0]["attempt"]) == ("127.0.0.1", "1", 1)


async def test_brokers_that_do_not_respond_are_one_outage_before_the_timeout_of_a_shard() -> None:
    """However many there are: otherwise each shard would report a timeout of its own."""
    outage = Outage()
    async with AsyncExitStack() as stack:
        addresses = []
        for _ in range(6):
            server = await stack.enter_async_context(await asyncio.start_server(_send_nothing, "127.0.0.1", 0))
            addresses.append("{}:{}".format(*server.sockets[0].getsockname()))
        connection = KafkaConnection(tuple(addresses))
        producer = FencedProducer(connection, topic="any", request_timeout=2.0, outage=outage)
        with pytest.raises(KafkaUnreachableError, match="no response"):
            await producer.open(0)
        await producer.close()
    assert outage.ongoing


async def _send_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _responds(client: KafkaClient) -> bool:
    try:
        await client.topic_metadata("any")
    except KafkaUnreachableError:  # of the backoff
        return False
    return True


async def test_an_unreachable_kafka_is_an_error_within_the_timeout() -> None:
    """Nothing listens on the port: the error names the address."""
    address = f"127.0.0.1:{free_port()}"
    async with producer_for(address, "any", request_timeout=2) as producer:
        began = time.monotonic()
        with pytest.raises(KafkaUnavailableError, match=address):
            await producer.open(0)
        assert time.monotonic() - began < 3


async def test_a_kafka_that_does_not_respond_is_an_error_within_the_timeout(kafka_bootstrap: str) -> None:
    """It accepts the connection and sends no response."""
    async with (
        relay_to(kafka_bootstrap) as relay,
        producer_for(relay.address, "any", request_timeout=0.5) as producer,
    ):
        relay.to_client.clear()
        began = time.monotonic()
        with pytest.raises(KafkaUnavailableError):
            await producer.open(0)
        assert time.monotonic() - began < 2


async def test_one_of_several_addresses_is_enough(kafka_bootstrap: str) -> None:
    """A bootstrap server that is down is skipped."""
    topic = await new_topic(kafka_bootstrap)
    addresses = f"127.0.0.1:{free_port()},{kafka_bootstrap}"
    async with producer_for(addresses, topic) as producer:
        assert (await send(producer, await open_patiently(producer, 0), "a")).error is None


async def test_a_broker_that_stops_responding_leaves_time_for_the_next_one(topic: FreshTopic) -> None:
    """The open connection is used first; without a response another broker is used, and the session opens."""
    async with (
        relay_to(topic.bootstrap) as relay,
        producer_for(relay.address, topic.name, request_timeout=2) as producer,
    ):
        await open_patiently(producer, 0)
        relay.to_client.clear()
        session = await producer.open(0)
        assert (await send(producer, session, "a")).error is None
    assert await topic.keys() == ["a"]


async def test_a_missing_topic_is_named_and_not_created(kafka_bootstrap: str) -> None:
    """Each attempt to open a shard of a missing topic reports it."""
    async with producer_for(kafka_bootstrap, "not-there") as producer:
        for _ in range(2):
            with pytest.raises(KafkaUnavailableError, match="no topic not-there"):
                await producer.open(0)


class Coordinator:
    """A fake client that returns the given error codes in order."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)

    async def coordinator(self, transactional_id: str) -> tuple[int, Address]:
        """Return the next code."""
        assert transactional_id == "topic-7"
        return self._codes.pop(0), Address("127.0.0.1", 1)

    async def init_producer_id(self, coordinator: Address, transactional_id: str) -> tuple[int, int, int]:
        """Return the next code."""
        assert (coordinator.port, transactional_id) == (1, "topic-7")
        return self._codes.pop(0), 5, 6


def producer_with(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> FencedProducer:
    """Return a producer that uses the fake client."""
    producer = FencedProducer(KafkaConnection(("127.0.0.1:1",)), topic="topic")
    monkeypatch.setattr(producer, "_client", coordinator)
    return producer


@pytest.mark.parametrize("codes", [(53,), (0, 53)], ids=["finding it", "using it"])
async def test_a_forbidden_transactional_id_is_named_with_the_permission_it_needs(
    codes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the missing permission and the resource."""
    producer = producer_with(Coordinator(*codes), monkeypatch)
    with pytest.raises(KafkaUnavailableError, match=r"topic-7: give this user Write and Describe"):
        await producer._new_session(7)


async def test_a_coordinator_that_is_not_ready_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster that has just started, coordinators are being elected or load their state."""
    producer = producer_with(Coordinator(15, 0, 14, 0, 16, 0, 51, 0, 0), monkeypatch)
    session = await producer._new_session(7)
    assert (session.producer_id, session.epoch) == (5, 6)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (47, FencedError, "InvalidProducerEpoch"),
        (90, FencedError, "code 90"),
        (10, RecordRejectedError, "MessageSizeTooLarge"),
        (18, RecordRejectedError, "RecordListTooLarge"),
        (87, RecordRejectedError, "code 87"),
        (29, KafkaUnavailableError, "give this user Write and Describe on the topic topic"),
        (3, KafkaUnavailableError, "there is no topic topic"),
        (6, KafkaUnavailableError, "NotLeader"),
        (7, KafkaUnavailableError, "RequestTimedOut"),
        (19, KafkaUnavailableError, "NotEnoughReplicas"),
        (45, KafkaUnavailableError, "OutOfOrderSequenceNumber"),
        (59, KafkaUnavailableError, "UnknownProducerId"),
        (32, RecordRejectedError, "InvalidTimestamp"),
        (-1, KafkaUnavailableError, "UnknownError"),
        (12345, KafkaUnavailableError, "12345"),
    ],
)
def test_each_error_code_has_its_kind_of_error(
    code: int, kind: type[KafkaFailureError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fenced, rejected or unavailable; the message contains Kafka's name of the error."""
    error = producer_with(Coordinator(), monkeypatch)._failure(code)
    assert type(error) is kind
    assert message in str(error)


def test_a_duplicate_batch_counts_as_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's error for a duplicate means that the records are in the log."""
    producer = producer_with(Coordinator(), monkeypatch)
    session = ProducerSession(0, 1, 1, time.monotonic())
    from_broker = producer._outcome(session, 4, code=46, base_offset=-1)
    assert from_broker == Outcome(4, -1, None)
    assert (session.sequence, session.usable) == (4, True)
