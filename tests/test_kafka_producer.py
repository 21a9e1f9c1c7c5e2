"""The fenced producer against the real broker: the records that it appends."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.kafka.broker_connections import Address
from service.kafka.config import KafkaConnection
from service.kafka.errors import RecordRejectedError
from service.kafka.producer import MAX_BATCH_BYTES, MAX_RECORD_BYTES
from service.kafka.types import Batch, ProducerSession, Record, next_sequence
from tests.kafka_harness import FreshTopic, fresh_topic, open_patiently, read_log, record, send

LAST_SEQUENCE = 2**31 - 1


@pytest.fixture
async def topic(kafka_bootstrap: str) -> AsyncIterator[FreshTopic]:
    """A topic of twelve partitions and a producer for it."""
    async with fresh_topic(kafka_bootstrap) as topic:
        yield topic


async def test_a_record_is_read_as_it_was_sent(topic: FreshTopic) -> None:
    """Key, value, headers, their order and the timestamp are equal; a tombstone has no value."""
    session = await open_patiently(topic.producer, 3)
    headers = [("ce_type", b"projectkey.created"), ("content-type", b"application/json")]
    full = Record(b"key", b'{"a":1}', headers, 1_700_000_000_123)
    [outcome] = await topic.producer.send([Batch(session, [full, record("gone", value=None)])])
    assert outcome.error is None
    assert outcome.acknowledged == 2
    _, first, second = await read_log(topic.bootstrap, topic.name, 3)
    assert first.offset == outcome.base_offset
    assert (first.key, first.value, first.headers, first.timestamp) == (
        b"key",
        b'{"a":1}',
        tuple(headers),
        1_700_000_000_123,
    )
    assert (second.key, second.value) == (b"gone", None)


async def test_shards_share_a_request(topic: FreshTopic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve shards, each under its own producer id, go to their broker in one request."""
    sessions = [await open_patiently(topic.producer, shard) for shard in range(12)]
    requests: list[int] = []
    produce = topic.producer._client.produce

    async def counting(leader: Address, topic: str, batches: list[tuple[int, bytes]]) -> dict[int, tuple[int, int]]:
        requests.append(len(batches))
        return await produce(leader, topic, batches)

    monkeypatch.setattr(topic.producer._client, "produce", counting)
    outcomes = await topic.producer.send(
        [Batch(each, [record(f"{each.shard}-{n}") for n in range(3)]) for each in sessions]
    )
    assert [outcome.acknowledged for outcome in outcomes] == [3] * 12
    assert requests == [12]
    assert len({session.producer_id for session in sessions}) == 12
    for shard in range(12):
        assert await topic.keys(shard) == [f"{shard}-{n}" for n in range(3)]


async def test_a_record_too_large_for_the_topic_is_rejected_and_a_new_session_continues(
    kafka_bootstrap: str,
) -> None:
    """The rejection ends the session; the next one starts a new sequence without a gap."""
    async with fresh_topic(kafka_bootstrap, config={"max.message.bytes": "2000"}) as topic:
        session = await open_patiently(topic.producer, 0)
        [rejected] = await topic.producer.send([Batch(session, [record("large", value=bytes(5000))])])
        assert isinstance(rejected.error, RecordRejectedError)
        again = await open_patiently(topic.producer, 0)
        assert (await send(topic.producer, again, "small")).error is None
        assert await topic.keys() == ["small"]


async def test_a_record_above_the_size_limit_is_rejected_without_being_sent(topic: FreshTopic) -> None:
    """The error names both sizes."""
    session = await open_patiently(topic.producer, 0)
    large = Batch(session, [record("large", value=bytes(MAX_RECORD_BYTES))])
    [outcome] = await topic.producer.send([large])
    assert isinstance(outcome.error, RecordRejectedError)
    assert str(MAX_RECORD_BYTES) in str(outcome.error)


async def test_an_error_while_the_records_of_a_batch_are_built_fails_only_that_batch(topic: FreshTopic) -> None:
    """The other batches of the call are sent; without this, one row could stop the publishing of all shards."""
    broken, healthy = [await open_patiently(topic.producer, shard) for shard in (0, 1)]
    records = (record(key) for key in ("a", None))  # type: ignore[arg-type]  # -- the defect
    failed, sent = await topic.producer.send([Batch(broken, records), Batch(healthy, [record("b")])])
    assert isinstance(failed.error, AttributeError)
    assert sent.error is None
    assert (await topic.keys(0), await topic.keys(1)) == ([], ["b"])


async def test_records_that_do_not_fit_into_a_batch_are_left_for_the_next(topic: FreshTopic) -> None:
    """The outcome counts the records that were sent, and the session continues with the others."""
    session = await open_patiently(topic.producer, 0)
    records = [record(str(n), value=bytes(MAX_BATCH_BYTES // 4)) for n in range(5)]
    [first] = await topic.producer.send([Batch(session, records)])
    [second] = await topic.producer.send([Batch(session, records[first.acknowledged :])])
    assert (first.acknowledged, second.acknowledged) == (3, 2)
    assert await topic.keys() == ["0", "1", "2", "3", "4"]


async def test_sequence_numbers_continue_over_many_batches(topic: FreshTopic) -> None:
    """A thousand records one by one and twenty thousand in batches: each is there once, in order."""
    session = await open_patiently(topic.producer, 0)
    texts = [str(n) for n in range(21_000)]
    for text in texts[:1000]:
        assert (await send(topic.producer, session, text)).error is None
    for start in range(1000, len(texts), 500):
        outcome = await send(topic.producer, session, *texts[start : start + 500])
        assert outcome.acknowledged == 500
    assert await topic.keys() == texts
    assert session.sequence == len(texts) + 1  # the fence record is the first


async def test_sequence_numbers_wrap_around(topic: FreshTopic) -> None:
    """The broker accepts a batch that ends with the largest number, one that spans it, and the next."""
    await open_patiently(topic.producer, 1)
    opened = await open_patiently(topic.producer, 0)
    # For a partition without records of a producer id, the broker accepts any first sequence number.
    session = ProducerSession(1, opened.producer_id, opened.epoch, opened.opened_at, sequence=LAST_SEQUENCE - 4)
    assert (await send(topic.producer, session, "a", "b", "c")).error is None
    assert (await send(topic.producer, session, "d", "e", "f")).error is None
    assert session.sequence == 1
    assert (await send(topic.producer, session, "g")).error is None
    assert await topic.keys(1) == list("abcdefg")


@pytest.mark.parametrize(
    ("sequence", "count", "following"),
    [(0, 1, 1), (LAST_SEQUENCE, 1, 0), (LAST_SEQUENCE - 1, 1, LAST_SEQUENCE), (LAST_SEQUENCE - 1, 5, 3)],
)
def test_zero_follows_the_largest_sequence_number(sequence: int, count: int, following: int) -> None:
    """Kafka's sequence numbers have 31 bits."""
    assert next_sequence(sequence, count) == following


async def test_two_batches_of_one_shard_in_a_call_are_an_error(topic: FreshTopic) -> None:
    """It is raised before any record is sent, and the session stays usable."""
    session = await open_patiently(topic.producer, 0)
    batch = Batch(session, [record("a")])
    with pytest.raises(ValueError, match="twice"):
        await topic.producer.send([batch, batch])
    assert session.usable


async def test_credentials_are_in_the_client_options_and_not_in_the_repr() -> None:
    """The options contain user and password or token; the representation for logs does not."""
    plain = KafkaConnection(
        ("kafka:9093",),
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="user",
        sasl_password="hidden",
    )
    options = plain.client_options()
    assert options["bootstrap_servers"] == ["kafka:9093"]
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("user", "hidden")
    assert options["ssl_context"].check_hostname
    assert "hidden" not in repr(plain)

    async def read_token() -> str:
        return "hidden"

    bearer = replace(plain, sasl_mechanism="OAUTHBEARER", sasl_token=read_token)
    assert await bearer.security_options()["sasl_oauth_token_provider"].token() == "hidden"
    assert "hidden" not in repr(bearer)
    assert KafkaConnection(("kafka:9092",)).security_options().keys() == {"client_id", "security_protocol"}
