"""The consumer kit while Kafka is unavailable, and after it is available again."""

import asyncio
from pathlib import Path

import pytest

from projectkeys_consumer import ProjectKeys
from projectkeys_servers.kafka import EmbeddedKafka
from projectkeys_servers.ports import free_port
from service.domain.model import new_key_half
from testkit.cluster import configured_kafka
from testkit.polling import poll_until
from testkit.processes import pause, resume
from tests.conftest import CACHE
from tests.kafka_harness import new_topic
from tests.topic_writer import topic_writer

_TIMEOUT = 5.0
_RECONNECT_TIMEOUT = 40.0
"""Seconds within which a reader reads again from a broker that was paused or killed."""


async def _is_behind(keys: ProjectKeys, seconds: float) -> bool:
    lag = keys.lag().seconds
    return lag is not None and lag > seconds


async def test_reading_continues_after_a_broker_was_killed(own_kafka: EmbeddedKafka) -> None:
    """Meanwhile lookups work and the lag grows; afterwards no record is read twice or missed."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    before, after = new_key_half(), new_key_half()
    async with ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic) as keys:
        async with topic_writer(own_kafka.bootstrap_servers, topic) as writer:
            await writer.write(before, 1)
        await keys.wait_for(before, 1, _TIMEOUT)
        own_kafka.kill()
        await poll_until(lambda: _is_behind(keys, 2.0))
        assert keys.is_ready
        assert keys.get(before) is not None
        await own_kafka.start()
        async with topic_writer(own_kafka.bootstrap_servers, topic) as writer:
            await writer.write(after, 1)
        assert await keys.wait_for(after, 1, _RECONNECT_TIMEOUT) is not None
        await poll_until(lambda: _is_fresh(keys))
        assert (keys.counts.applied, keys.counts.outdated) == (2, 0)


async def _is_fresh(keys: ProjectKeys) -> bool:
    return not await _is_behind(keys, 1.0)


async def test_reading_continues_after_a_broker_was_paused(own_kafka: EmbeddedKafka) -> None:
    """It stops responding, with every connection open, and resumes."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    async with ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic) as keys:
        await keys.ready(_TIMEOUT)
        pause(own_kafka.pid)
        await poll_until(lambda: _is_behind(keys, 2.0))
        resume(own_kafka.pid)
        key = new_key_half()
        async with topic_writer(own_kafka.bootstrap_servers, topic) as writer:
            await writer.write(key, 1)
        assert await keys.wait_for(key, 1, _RECONNECT_TIMEOUT) is not None


async def test_a_start_without_kafka_waits_for_it(own_kafka: EmbeddedKafka) -> None:
    """The reader reports the problem, and is ready when Kafka has started and responded."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    await own_kafka.stop()
    async with ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic) as keys:
        await poll_until(lambda: _has_a_problem(keys))
        assert not keys.is_ready
        await own_kafka.start()
        await keys.ready(_RECONNECT_TIMEOUT)
        assert keys.problem is None


async def _has_a_problem(keys: ProjectKeys) -> bool:
    return keys.problem is not None


async def test_one_reachable_bootstrap_server_is_enough(kafka_bootstrap: str, topic: str) -> None:
    """Separated by commas or as a sequence; no server listens at the first address."""
    unreachable = f"127.0.0.1:{free_port()}"
    for addresses in (f"{unreachable},{kafka_bootstrap}", [unreachable, kafka_bootstrap]):
        async with ProjectKeys(bootstrap_servers=addresses, topic=topic) as keys:
            await keys.ready(_TIMEOUT)


async def test_a_topic_that_is_created_later_is_found(tmp_path: Path) -> None:
    """The reader's requests do not create the topic, although this broker creates topics automatically."""
    topic = f"later-{new_key_half()}"
    async with (
        configured_kafka(tmp_path, cache_dir=CACHE, properties={"auto.create.topics.enable": "true"}) as kafka,
        ProjectKeys(bootstrap_servers=kafka.bootstrap_servers, topic=topic) as keys,
    ):
        await poll_until(lambda: _has_a_problem(keys))
        assert str(keys.problem).endswith(f"there is no topic {topic}")
        await new_topic(kafka.bootstrap_servers, name=topic)
        await keys.ready(_RECONNECT_TIMEOUT)


async def test_the_block_ends_while_kafka_does_not_respond(own_kafka: EmbeddedKafka) -> None:
    """Within ten seconds."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    keys = ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic)
    async with keys:
        await keys.ready(_TIMEOUT)
        pause(own_kafka.pid)
        left_at = asyncio.get_running_loop().time()
    try:
        assert asyncio.get_running_loop().time() - left_at < 10
    finally:
        resume(own_kafka.pid)


@pytest.mark.parametrize("wrong", ["", "127.0.0.1"])
async def test_an_invalid_bootstrap_server_is_reported_as_a_problem(wrong: str) -> None:
    """The reader retries as after any other failure."""
    async with ProjectKeys(bootstrap_servers=wrong, topic="any") as keys:
        await poll_until(lambda: _has_a_problem(keys))
        assert keys.problem
