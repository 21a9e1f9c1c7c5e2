"""Outcomes are counted once, whichever processes fail or run at the same time, and statistics show them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from service.app import build
from service.concurrency.backoff import Backoff
from service.domain.errors import ConflictError
from service.domain.model import NewProjectKey
from service.domain.usage import UsageCounter
from service.postgres import usage as tables
from service.postgres.usage import add_usage, move_offsets
from service.settings import Settings
from service.usage import collector as module
from testkit.polling import poll_until
from tests.conftest import ORIGIN, make_project
from tests.kafka_harness import add_partitions, delete_records, new_topic
from tests.outbox import Postgres
from tests.outcomes import UsageSite, outcome, reading, send_outcomes


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit several times in each test, without a second between."""
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.05)
    monkeypatch.setattr(module, "_MAX_BATCH", 20)


@pytest.fixture
async def usage(settings: Settings, kafka_bootstrap: str, postgres: Postgres) -> AsyncIterator[UsageSite]:
    """Nothing has been read yet."""
    topic = await new_topic(kafka_bootstrap, partitions=1)
    settings = replace(settings, usage=True, outcomes_topic=topic)
    service = build(settings)
    await service.database.start()
    project = await make_project(service)
    created = await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN, None)
    key = await service.use_cases.read_keys.get(project, created.key.public_key)
    yield UsageSite(settings, service, postgres, project, key)
    await service.database.close()


async def test_outcomes_are_counted_whatever_is_between_them(usage: UsageSite) -> None:
    """Malformed records are skipped, outcomes of unknown keys are counted apart, compressed records are read."""
    await usage.send(outcome(usage.key_id), None, b"\xff", outcome(10**12, quantity=3), outcome(None))
    await usage.send(outcome(usage.key_id, quantity=4), b"x" * 900_000, compression_type="lz4")
    collector, metrics = usage.collector()
    async with reading(collector):
        await usage.wait_for(5)
        await usage.wait_for(4, key_id=0)
    assert metrics._unknown._value.get() == 4
    assert metrics._records.labels("counted")._value.get() == 4
    assert metrics._records.labels("malformed")._value.get() == 3


async def test_each_outcome_counts_once_whenever_readers_are_stopped(
    usage: UsageSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several read at the same time, as after a pause that was longer than the lease, and are stopped at any step."""
    monkeypatch.setattr(tables, "claim_reader", _claim_always)
    monkeypatch.setattr(module, "_BACKOFF", Backoff(first=0.01, longest=0.02))
    sent, running = 0, list[asyncio.Task[None]]()
    for number in range(10):
        quantities = [1 + index % 8 for index in range(60)]
        await usage.send(*(outcome(usage.key_id, quantity=quantity) for quantity in quantities))
        sent += sum(quantities)
        collector, _ = usage.collector(f"reader-{number}")
        running.append(asyncio.create_task(collector.run()))
        await asyncio.sleep(number * 7 % 10 / 50)
        if number:
            victim = running.pop(number % 2)
            victim.cancel()
            await asyncio.wait([victim])
    try:
        await usage.wait_for(sent)
        await asyncio.sleep(0.2)
        assert await usage.counted() == sent
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


async def _claim_always(*_: Any, **__: Any) -> bool:
    return True


async def test_a_batch_that_another_process_has_counted_is_rolled_back(
    usage: UsageSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading and committing, for example during a pause: the next offset is not at its begin any more."""
    await usage.send(outcome(usage.key_id, quantity=7))
    first, second = usage.collector("first")[0], usage.collector("second")[0]
    paused, resumed = asyncio.Event(), asyncio.Event()

    async def move_late(connection: Any, topic: str, moves: Any) -> None:
        if not paused.is_set():
            paused.set()
            await usage.postgres.execute("UPDATE usage_reader SET lease_until = 'epoch'")
            async with reading(second):
                await usage.wait_for(7)
            resumed.set()
        await move_offsets(connection, topic, moves)

    monkeypatch.setattr(tables, "move_offsets", move_late)
    async with reading(first):
        await poll_until(resumed.is_set)
        await usage.send(outcome(usage.key_id))
        await usage.wait_for(8)


async def test_only_the_owner_of_the_lease_reads_and_its_end_lets_another_begin(usage: UsageSite) -> None:
    """A process that stops releases the lease; that of a killed one ends by the clock of the database."""
    first, first_metrics = usage.collector("first")
    second, second_metrics = usage.collector("second", lease=0.2)
    async with reading(first):
        await poll_until(lambda: first_metrics.reading._value.get() == 1)
        async with reading(second):
            await asyncio.sleep(0.3)
            assert second_metrics.reading._value.get() == 0
    async with reading(second):
        await poll_until(lambda: second_metrics.reading._value.get() == 1)
    await usage.postgres.execute("UPDATE usage_reader SET owner = 'killed', lease_until = now() + interval '0.3 s'")
    async with reading(second):
        await poll_until(lambda: second_metrics.reading._value.get() == 1)


async def test_records_that_kafka_has_deleted_are_counted_as_missed(usage: UsageSite) -> None:
    """The reader continues with the first record that exists."""
    collector, metrics = usage.collector()
    await usage.send(outcome(usage.key_id))
    async with reading(collector):
        await usage.wait_for(1)
    await usage.send(*[outcome(usage.key_id)] * 5)
    await delete_records(usage.settings.kafka_bootstrap_servers[0], usage.settings.outcomes_topic, before=4)
    began = await usage.postgres.fetchval("SELECT complete_since FROM usage_reader")
    async with reading(collector):
        await usage.wait_for(3)
    assert metrics.missed._value.get() == 3
    assert await usage.postgres.fetchval("SELECT complete_since FROM usage_reader") > began


async def test_a_topic_that_was_created_again_is_read_from_its_begin(usage: UsageSite) -> None:
    """The stored offset is beyond its end."""
    await usage.postgres.execute("INSERT INTO usage_offset VALUES ($1, 0, 1000)", usage.settings.outcomes_topic)
    await usage.send(outcome(usage.key_id))
    collector, metrics = usage.collector()
    async with reading(collector):
        await usage.wait_for(1)
    assert metrics.missed._value.get() == 1


async def test_a_partition_that_was_added_is_read_from_its_begin(
    usage: UsageSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next session finds it."""
    monkeypatch.setattr(module, "_SESSION_SECONDS", 0.1)
    collector, _ = usage.collector()
    bootstrap, topic = usage.settings.kafka_bootstrap_servers[0], usage.settings.outcomes_topic
    async with reading(collector):
        await usage.send(outcome(usage.key_id))
        await usage.wait_for(1)
        await add_partitions(bootstrap, topic, 2)
        await send_outcomes(bootstrap, topic, [outcome(usage.key_id)] * 40, max_batch_size=1)
        await usage.wait_for(41)
    assert await usage.postgres.fetchval("SELECT count(*) FROM usage_offset WHERE next_offset > 0") == 2


async def test_the_reader_waits_for_its_topic(usage: UsageSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also during any outage of Kafka."""
    monkeypatch.setattr(module, "_BACKOFF", Backoff(first=0.05, longest=0.05))
    missing = replace(usage, settings=replace(usage.settings, outcomes_topic=f"{usage.settings.outcomes_topic}-b"))
    collector, metrics = missing.collector()
    async with reading(collector):
        await asyncio.sleep(0.2)
        assert metrics.reading._value.get() == 0
        await new_topic(missing.settings.kafka_bootstrap_servers[0], name=missing.settings.outcomes_topic)
        await missing.send(outcome(usage.key_id))
        await missing.wait_for(1)


async def test_a_key_that_is_deleted_meanwhile_becomes_unknown(usage: UsageSite) -> None:
    """The transaction is repeated, after that of the deletion; the usage of a deleted key remains."""
    counter = UsageCounter(usage.key_id, 1, datetime(2026, 1, 1, tzinfo=UTC), 0)

    async def add() -> int:
        async with usage.service.database.transaction() as connection:
            return await add_usage(connection, {counter: 1})

    assert await add() == 0
    await usage.postgres.execute("DELETE FROM key_last_seen")
    async with usage.postgres.transaction():
        await usage.postgres.execute("DELETE FROM project_key WHERE id = $1", usage.key_id)
        adding = asyncio.create_task(add())
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        await poll_until(lambda: usage.postgres.fetchval(waiting))
    with pytest.raises(ConflictError):
        await adding
    assert await add() == 1
    assert (await usage.counted(), await usage.counted(key_id=0)) == (1, 1)


async def test_hours_that_are_too_old_are_deleted_and_the_last_hour_of_a_key_stays(
    usage: UsageSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches, after which the reader continues."""
    monkeypatch.setattr(module, "_CLEANUP_BATCH", 2)
    await usage.postgres.execute(
        """
        INSERT INTO key_usage (key_id, category, hour, outcome, quantity)
        SELECT $1, 1, date_trunc('hour', now()) - make_interval(days => 88 + number), 0, 1
        FROM generate_series(1, 7) AS number
        """,
        usage.key_id,
    )
    await usage.send(outcome(usage.key_id, timestamp="2020-02-02T02:30:00Z"))
    collector, _ = usage.collector()

    async def only_recent() -> bool:
        return await usage.counted() == 1 and bool(await usage.postgres.fetchval(_SEEN))

    async with reading(collector):
        await poll_until(only_recent)
    assert await usage.postgres.fetchval(_SEEN) == datetime(2020, 2, 2, 2, tzinfo=UTC)


_SEEN = "SELECT hour FROM key_last_seen"


async def test_a_sum_has_the_greatest_value_of_its_type(usage: UsageSite) -> None:
    """Further outcomes do not fail: a hostile relay cannot stop the reader."""
    counter = UsageCounter(usage.key_id, 1, datetime(2026, 1, 1, tzinfo=UTC), 0)
    for _ in range(2):
        async with usage.service.database.transaction() as connection:
            await add_usage(connection, {counter: 2**63 - 2})
    assert await usage.counted() == 2**63 - 1
