"""Kafka restarts or drops its state of a producer: the publisher continues, and no event is lost or reordered."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from projectkeys_servers.kafka import EmbeddedKafka
from service.domain.model import new_key_half
from service.kafka.errors import FencedError
from service.kafka.producer import FencedProducer
from service.kafka.types import ProducerSession
from service.kafka_connection import kafka_connection
from service.settings import Settings
from testkit.cluster import configured_kafka
from testkit.polling import poll_until
from tests.conftest import CACHE
from tests.events import header, reading
from tests.kafka_harness import fresh_topic, new_topic, open_patiently, producer_for, send
from tests.outbox import Postgres, waiting, write_row
from tests.publishing import publishing_to

_SHORT_EXPIRATION = {
    "producer.id.expiration.ms": "500",
    "producer.id.expiration.check.interval.ms": "100",
    "transactional.id.expiration.ms": "500",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "100",
}
"""Kafka's defaults are a day and a week; its clock cannot be set."""

_EXPIRED_AFTER = 2.0
"""Seconds."""


async def _is_outbox_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


async def test_a_broker_that_is_killed_while_events_are_sent_causes_only_duplicates(
    own_kafka: EmbeddedKafka, settings: Settings, postgres: Postgres
) -> None:
    """Versions of many keys are written throughout; in the end all are in the log, in order."""
    bootstrap = own_kafka.bootstrap_servers
    topic = await new_topic(bootstrap)
    own = replace(settings, kafka_bootstrap_servers=(bootstrap,))
    producer = FencedProducer(kafka_connection(own), topic=topic, request_timeout=2.0)
    keys = [(new_key_half(), number % 4) for number in range(20)]
    async with publishing_to(producer, own):
        for version in range(1, 13):
            for key, shard in keys:
                await write_row(postgres, key=key, shard=shard, version=version)
            if version == 4:
                own_kafka.kill()
            if version == 8:
                await own_kafka.start()
        await poll_until(lambda: _is_outbox_empty(postgres), timeout=30)
    await producer.close()
    versions: dict[str, list[int]] = defaultdict(list)
    async with reading(bootstrap, topic) as reader:
        for record in await reader.until(lambda seen: len({header(each, "ce_id") for each in seen}) == 240):
            versions[record.key.decode()].append(int(header(record, "ce_keyversion")))
    for key, _ in keys:
        assert list(dict.fromkeys(versions[key])) == list(range(1, 13))


async def test_a_restarted_coordinator_still_knows_the_epoch(own_kafka: EmbeddedKafka) -> None:
    """A session that is opened after the restart fences the earlier ones."""
    async with fresh_topic(own_kafka.bootstrap_servers) as topic:
        old = await open_patiently(topic.producer, 0)
        own_kafka.kill()
        await own_kafka.start()
        async with producer_for(topic.bootstrap, topic.name) as successor:
            new = await open_patiently(successor, 0)
            assert (new.producer_id, new.epoch) == (old.producer_id, old.epoch + 1)
            await send(successor, new, "after")
        topic.producer._leaders_stale = True
        await topic.producer._find_leaders()
        late = await send(topic.producer, old, "late")
        assert isinstance(late.error, FencedError)
        assert await topic.keys() == ["after"]


async def test_a_partition_that_has_dropped_its_producer_state_accepts_the_next_record(
    settings: Settings, postgres: Postgres, tmp_path: Path
) -> None:
    """After a day without a record in the shard, the next one is appended once, as any other."""
    async with configured_kafka(tmp_path, cache_dir=CACHE, properties=_SHORT_EXPIRATION) as kafka:
        topic = await new_topic(kafka.bootstrap_servers)
        own = replace(settings, kafka_bootstrap_servers=(kafka.bootstrap_servers,))
        producer = FencedProducer(kafka_connection(own), topic=topic)
        async with publishing_to(producer, own), reading(kafka.bootstrap_servers, topic) as reader:
            rows = []
            for number in range(1, 4):
                rows.append(await write_row(postgres))
                await reader.count(number)
                await poll_until(lambda: _is_outbox_empty(postgres))
                await asyncio.sleep(_EXPIRED_AFTER)
            published = await reader.count(3)
        await producer.close()
    assert [header(record, "ce_id") for record in published] == [str(row.event.id) for row in rows]


async def test_an_expired_transactional_id_gets_another_producer_id(tmp_path: Path) -> None:
    """The earlier owner is not fenced then, which is why a session has an age limit."""
    async with (
        configured_kafka(tmp_path, cache_dir=CACHE, properties=_SHORT_EXPIRATION) as kafka,
        fresh_topic(kafka.bootstrap_servers) as topic,
    ):
        old = await open_patiently(topic.producer, 0)
        async with producer_for(topic.bootstrap, topic.name) as successor:
            await poll_until(lambda: _has_another_producer_id(successor, old))
        assert (await send(topic.producer, old, "not fenced")).error is None


async def _has_another_producer_id(successor: FencedProducer, old: ProducerSession) -> bool:
    """Whether the id has expired; if not, this use restarts its expiration time."""
    await asyncio.sleep(_EXPIRED_AFTER)
    new = await open_patiently(successor, 0)
    if new.producer_id == old.producer_id:
        old.epoch = new.epoch
        return False
    return (await send(successor, new, "new")).error is None
