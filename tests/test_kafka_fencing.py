"""Fencing against the real broker: no record of an earlier owner gets into the log."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from service.kafka.errors import FencedError, KafkaUnavailableError
from service.kafka.producer import SESSION_SECONDS
from service.kafka.types import Batch, ProducerSession
from tests.kafka_harness import (
    FreshTopic,
    fresh_topic,
    open_patiently,
    producer_for,
    read_log,
    record,
    relay_to,
    send,
)


@pytest.fixture
async def topic(kafka_bootstrap: str) -> AsyncIterator[FreshTopic]:
    """A topic of twelve partitions and a producer for it."""
    async with fresh_topic(kafka_bootstrap) as topic:
        yield topic


async def test_a_session_begins_with_a_fence_record(topic: FreshTopic) -> None:
    """The fence is a CloudEvent of its own type, which consumers ignore."""
    await open_patiently(topic.producer, 0)
    [fence] = await read_log(topic.bootstrap, topic.name, 0)
    headers = dict(fence.headers)
    assert (fence.key, fence.value) == (b"_fence", b"{}")
    assert headers["ce_type"] == b"projectkeys.fence"
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_source"] == b"/projectkeys"
    assert headers["content-type"] == b"application/json"
    assert {"ce_id", "ce_time"} <= headers.keys()


async def test_an_owner_that_was_replaced_is_fenced(topic: FreshTopic) -> None:
    """After another owner opens the shard, records of the first are rejected; other shards are not affected."""
    old, bystander = await open_patiently(topic.producer, 0), await open_patiently(topic.producer, 1)
    await send(topic.producer, old, "before")
    async with producer_for(topic.bootstrap, topic.name) as successor:
        new = await open_patiently(successor, 0)
        fenced, unharmed = await topic.producer.send(
            [Batch(old, [record("late")]), Batch(bystander, [record("beside")])]
        )
        await send(successor, new, "after")
    assert isinstance(fenced.error, FencedError)
    assert fenced.acknowledged == 0
    assert unharmed.error is None
    assert new.epoch > old.epoch
    assert await topic.keys(0) == ["before", "after"]
    assert await topic.keys(1) == ["beside"]


async def test_a_delayed_request_of_a_replaced_owner_is_rejected(
    topic: FreshTopic,
) -> None:
    """A request that was in the network during the takeover is not appended."""
    session = await open_patiently(topic.producer, 0)
    async with producer_for(topic.bootstrap, topic.name) as successor, relay_to(topic.bootstrap) as relay:
        topic.producer._leaders = {0: relay.broker_address}
        await send(topic.producer, session, "before")
        relay.to_server.clear()
        sending = asyncio.create_task(send(topic.producer, session, "late"))
        await send(successor, await open_patiently(successor, 0), "after")
        assert not sending.done()
        relay.to_server.set()
        outcome = await sending
    assert isinstance(outcome.error, FencedError)
    assert await topic.keys() == ["before", "after"]


async def test_of_concurrent_owners_of_a_shard_one_remains(topic: FreshTopic) -> None:
    """Of eight that open at once, one can send; the others are fenced at open or at their first batch."""
    await open_patiently(topic.producer, 0)
    opened = await asyncio.gather(*(topic.producer.open(0) for _ in range(8)), return_exceptions=True)
    sessions = [each for each in opened if isinstance(each, ProducerSession)]
    outcomes = [await send(topic.producer, each, str(each.epoch)) for each in sessions]
    kinds = Counter(type(outcome.error) for outcome in outcomes)
    assert kinds[type(None)] == 1
    assert kinds.keys() <= {type(None), FencedError}
    assert {type(each) for each in opened} <= {ProducerSession, FencedError}
    assert await topic.keys() == [str(max(each.epoch for each in sessions))]


async def test_a_session_above_the_age_limit_is_not_used(topic: FreshTopic) -> None:
    """Kafka may have dropped its epoch, so it could not be fenced; no record is sent."""
    session = await open_patiently(topic.producer, 0)
    session.opened_at -= SESSION_SECONDS + 1
    outcome = await send(topic.producer, session, "stale")
    assert isinstance(outcome.error, KafkaUnavailableError)
    assert await topic.keys() == []
