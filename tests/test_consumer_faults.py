"""The consumer kit while Kafka is away, and when it is back."""

import asyncio
from pathlib import Path

import pytest

from service.consumer import ProjectKeys
from service.dev.kafka import EmbeddedKafka
from service.dev.ports import free_port
from service.domain.model import new_key_half
from testkit.cluster import configured_kafka
from testkit.polling import poll_until
from testkit.processes import pause, resume
from tests.conftest import CACHE
from tests.kafka_harness import new_topic
from tests.telling import telling

_SOON = 5.0
_BACK_WITHIN = 40.0
"""Seconds until a reader has noticed that a broker is back that was silent or killed."""


async def _is_behind(keys: ProjectKeys, seconds: float) -> bool:
    lag = keys.lag().seconds
    return lag is not None and lag > seconds


async def test_a_broker_that_was_killed_is_read_on_from_where_it_was(own_kafka: EmbeddedKafka) -> None:
    """Meanwhile everything is served, and the lag tells how old it is; nothing is read twice, nothing is missed."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    before, after = new_key_half(), new_key_half()
    async with ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic) as keys:
        async with telling(own_kafka.bootstrap_servers, topic) as teller:
            await teller.tell(before, 1)
        await keys.wait_for(before, 1, _SOON)
        own_kafka.kill()
        await poll_until(lambda: _is_behind(keys, 2.0))
        assert keys.is_ready
        assert keys.get(before) is not None
        await own_kafka.start()
        async with telling(own_kafka.bootstrap_servers, topic) as teller:
            await teller.tell(after, 1)
        assert await keys.wait_for(after, 1, _BACK_WITHIN) is not None
        await poll_until(lambda: _is_fresh(keys))
        assert (keys.counts.applied, keys.counts.outdated) == (2, 0)


async def _is_fresh(keys: ProjectKeys) -> bool:
    return not await _is_behind(keys, 1.0)


async def test_a_broker_that_says_nothing_for_a_while_is_read_on(own_kafka: EmbeddedKafka) -> None:
    """It is halted with every connection open, and let go."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    async with ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic) as keys:
        await keys.ready(_SOON)
        pause(own_kafka.pid)
        await poll_until(lambda: _is_behind(keys, 2.0))
        resume(own_kafka.pid)
        key = new_key_half()
        async with telling(own_kafka.bootstrap_servers, topic) as teller:
            await teller.tell(key, 1)
        assert await keys.wait_for(key, 1, _BACK_WITHIN) is not None


async def test_a_start_without_kafka_waits_for_it(own_kafka: EmbeddedKafka) -> None:
    """It is not ready, says why, and is as soon as Kafka is there and has answered."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    await own_kafka.stop()
    async with ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic) as keys:
        await poll_until(lambda: _tells_of_a_problem(keys))
        assert not keys.is_ready
        await own_kafka.start()
        await keys.ready(_BACK_WITHIN)
        assert keys.problem is None


async def _tells_of_a_problem(keys: ProjectKeys) -> bool:
    return keys.problem is not None


async def test_one_address_of_several_is_enough(kafka_bootstrap: str, topic: str) -> None:
    """With commas between them or as a sequence; the first one is nobody's."""
    nobody = f"127.0.0.1:{free_port()}"
    for addresses in (f"{nobody},{kafka_bootstrap}", [nobody, kafka_bootstrap]):
        async with ProjectKeys(bootstrap_servers=addresses, topic=topic) as keys:
            await keys.ready(_SOON)


async def test_a_topic_that_is_made_later_is_found(tmp_path: Path) -> None:
    """And the reader has not had it made, though this broker would: with a number of partitions of its own."""
    topic = f"later-{new_key_half()}"
    async with (
        configured_kafka(
            tmp_path, cache_dir=CACHE, properties={"auto.create.topics.enable": "true"}
        ) as kafka,
        ProjectKeys(bootstrap_servers=kafka.bootstrap_servers, topic=topic) as keys,
    ):
        await poll_until(lambda: _tells_of_a_problem(keys))
        assert str(keys.problem).endswith(f"there is no topic {topic}")
        await new_topic(kafka.bootstrap_servers, name=topic)
        await keys.ready(_BACK_WITHIN)


async def test_the_end_comes_though_kafka_is_silent(own_kafka: EmbeddedKafka) -> None:
    """The block ends within seconds, whatever the broker does not answer."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    keys = ProjectKeys(bootstrap_servers=own_kafka.bootstrap_servers, topic=topic)
    async with keys:
        await keys.ready(_SOON)
        pause(own_kafka.pid)
        leaving = asyncio.get_running_loop().time()
    try:
        assert asyncio.get_running_loop().time() - leaving < 10
    finally:
        resume(own_kafka.pid)


@pytest.mark.parametrize("wrong", ["", "127.0.0.1"])
async def test_an_address_that_is_none_is_told(wrong: str) -> None:
    """As a problem like any other: whoever asks reads it."""
    async with ProjectKeys(bootstrap_servers=wrong, topic="any") as keys:
        await poll_until(lambda: _tells_of_a_problem(keys))
        assert keys.problem
