"""The publisher with a fake producer that delays, fails, rejects or acknowledges in part."""

import asyncio

import pytest

from service.concurrency.backoff import Backoff
from service.domain.events import SHARDS
from service.kafka.types import Record
from service.postgres.outbox import PostgresOutbox
from service.publisher import sender
from service.publisher.publisher import Publisher
from service.settings import Settings
from testkit.polling import poll_until
from tests.outbox import Postgres, new_row, waiting, write_row
from tests.publishing import publishing_to
from tests.recording_producer import RecordingProducer


@pytest.fixture
def recording() -> RecordingProducer:
    """The fake producer."""
    return RecordingProducer()


async def _reaches(log: list[tuple[int, Record]], number: int) -> bool:
    return len(log) >= number


async def _is_outbox_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


async def _owns(publisher: Publisher, shards: list[int]) -> bool:
    return publisher.owned == shards


async def test_a_row_stays_in_the_table_until_it_is_acknowledged(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """While Kafka does not respond it stays, also when another shard is processed; then it is deleted."""
    async with publishing_to(recording, settings) as publisher:
        recording.gate.clear()
        publisher.enqueue([await write_row(postgres)])
        await poll_until(lambda: _reaches(recording.tried, 1))
        await write_row(postgres, shard=1)
        await poll_until(lambda: _reaches(recording.tried, 2))
        assert await waiting(postgres) == 2
        recording.gate.set()
        await poll_until(lambda: _is_outbox_empty(postgres))


async def test_after_a_failed_send_the_same_bytes_are_sent_in_a_new_session(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """Id, key, value, headers and timestamp are equal; and no other shard opens a new session."""
    recording.failures[3] = 1
    async with publishing_to(recording, settings) as publisher:
        publisher.enqueue([await write_row(postgres, shard=3)])
        await poll_until(lambda: _reaches(recording.log, 1))
        await poll_until(lambda: _is_outbox_empty(postgres))
    first, second = recording.tried
    assert first == second == recording.log[0]
    assert sorted(recording.opened) == sorted([*range(SHARDS), 3])


async def test_failures_of_one_shard_do_not_delay_the_others(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """A shard that keeps failing is retried with growing delays; the others publish at once."""
    recording.failures[3] = 1000
    async with publishing_to(recording, settings) as publisher:
        publisher.enqueue([await write_row(postgres, shard=3)])
        await poll_until(lambda: _reaches(recording.tried, 3))
        publisher.enqueue([await write_row(postgres, shard=shard) for shard in (1, 2, 4)])
        await poll_until(lambda: _reaches(recording.log, 3), timeout=1)
        assert len(recording.tried) < 3 + 3 + 3, "the delays grow"
        assert "3" in publisher.condition()
        assert await waiting(postgres) >= 1


async def test_no_row_is_deleted_for_a_shard_with_a_new_owner(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """An acknowledgement after the takeover deletes no row; the new owner will."""
    async with publishing_to(recording, settings) as publisher:
        recording.gate.clear()
        publisher.enqueue([await write_row(postgres, shard=shard) for shard in (5, 6)])
        await poll_until(lambda: _reaches(recording.tried, 2))
        await postgres.execute(
            "UPDATE outbox_shard SET owner = 'other', epoch = epoch + 1,"
            " lease_until = clock_timestamp() + interval '1 minute' WHERE shard = 5"
        )
        recording.gate.set()
        await poll_until(lambda: _reaches(recording.log, 2))
        await poll_until(lambda: _owns(publisher, [shard for shard in range(SHARDS) if shard != 5]))
        assert await postgres.fetchval("SELECT array_agg(shard) FROM outbox") == [5]


async def test_a_shard_that_is_lost_while_its_session_opens_is_not_used(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """Without the lease no record is sent, and the new owner fences the session."""
    async with publishing_to(recording, settings) as publisher:
        recording.failures[5] = 1
        recording.gate.clear()
        publisher.enqueue([await write_row(postgres, shard=5)])
        await poll_until(lambda: _reaches(recording.tried, 1))
        await postgres.execute("UPDATE outbox_shard SET owner = 'other', epoch = epoch + 1 WHERE shard = 5")
        recording.gate.set()
        await poll_until(lambda: _owns(publisher, [shard for shard in range(SHARDS) if shard != 5]))
    assert len(recording.tried) == 1
    assert recording.log == []


async def test_only_first_versions_are_enqueued_from_memory(settings: Settings, recording: RecordingProducer) -> None:
    """Neither row is in the table, so the one that is sent was enqueued from memory."""
    async with publishing_to(recording, settings) as publisher:
        publisher.enqueue([new_row(version=2), first := new_row()])
        await poll_until(lambda: _reaches(recording.log, 1))
    [(_, record)] = recording.tried
    assert record.key.decode() == first.event.public_key


async def test_a_partly_acknowledged_batch_is_continued(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """A batch over the size limit takes another request; order is kept and there is no duplicate."""
    recording.max_batch_size = 3
    rows = [await write_row(postgres) for _ in range(10)]
    async with publishing_to(recording, settings):
        await poll_until(lambda: _is_outbox_empty(postgres))
    assert [record.key.decode() for _, record in recording.log] == [row.event.public_key for row in rows]


async def test_shards_that_cannot_be_opened_are_retried(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """Their rows stay in the table meanwhile."""
    recording.failing_openings = 3 * SHARDS
    await write_row(postgres, shard=11)
    async with publishing_to(recording, settings):
        await poll_until(lambda: _is_outbox_empty(postgres))
    assert recording.failing_openings == 0


async def test_all_shards_are_retried_as_soon_as_one_can_be_opened(
    settings: Settings, recording: RecordingProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage of Kafka none of them waits for the rest of its delay."""
    monkeypatch.setattr(sender, "_RETRY", Backoff(first=3600, longest=3600))
    recording.failing_openings = SHARDS - 1
    async with publishing_to(recording, settings):
        assert sorted(recording.opened) == list(range(SHARDS))


async def test_the_publisher_is_restarted_after_an_internal_error(
    settings: Settings, postgres: Postgres, recording: RecordingProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads of the table fail with an unexpected error for a while; then all rows are published."""

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    async with publishing_to(recording, settings) as publisher:
        with monkeypatch.context() as defect:
            defect.setattr(PostgresOutbox, "select_unpublished", fail)
            await poll_until(lambda: _owns(publisher, []))
        await write_row(postgres)
        await poll_until(lambda: _is_outbox_empty(postgres), timeout=5)


async def test_a_publisher_that_stops_releases_its_shards(
    settings: Settings, postgres: Postgres, recording: RecordingProducer
) -> None:
    """Records in flight are acknowledged and deleted first; the next owner does not wait for a lease to expire."""
    async with publishing_to(recording, settings) as publisher:
        recording.gate.clear()
        publisher.enqueue([await write_row(postgres)])
        await poll_until(lambda: _reaches(recording.tried, 1))
        asyncio.get_running_loop().call_later(0.3, recording.gate.set)
    assert await waiting(postgres) == 0
    assert await postgres.fetchval("SELECT count(*) FROM outbox_shard WHERE owner IS NOT NULL") == 0
    assert await postgres.fetchval("SELECT count(*) FROM outbox_publisher") == 0
