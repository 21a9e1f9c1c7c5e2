"""The publisher's contract with its producer: each test runs with a fake one and with Apache Kafka."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from service.kafka.producer import FencedProducer
from service.kafka.types import Record
from service.kafka_connection import kafka_connection
from service.postgres.outbox import notify_publishers
from service.publisher.protocols import Producer
from service.settings import Settings
from testkit.polling import poll_until
from tests.events import Reader, reading
from tests.outbox import Postgres, waiting, write_row
from tests.publishing import publishing_to
from tests.recording_producer import RecordingProducer

_POLL = 1.2
"""Seconds within which a row is found without a notification."""


@dataclass(frozen=True, slots=True)
class Published:
    """A record in the log."""

    shard: int
    key: str
    event_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Destination:
    """A producer and what it has appended, in Kafka or in the fake's memory."""

    producer: Producer
    reader: Reader | None
    recording: RecordingProducer | None

    async def count(self, number: int) -> list[Published]:
        """Wait for ``number`` records and return all."""
        if self.reader is not None:
            return [
                _published(record.partition, record.key, record.headers) for record in await self.reader.count(number)
            ]
        assert self.recording is not None, "the destination is Kafka or the fake"
        log = self.recording.log
        await poll_until(lambda: _reaches(log, number))
        return [_published(shard, record.key, record.headers) for shard, record in log]


async def _reaches(log: list[tuple[int, Record]], number: int) -> bool:
    return len(log) >= number


def _published(shard: int, key: bytes, headers: Sequence[tuple[str, bytes]]) -> Published:
    values = {name: value.decode() for name, value in headers}
    return Published(shard, key.decode(), values["ce_id"], int(values["ce_sequence"]))


@pytest.fixture(params=["recorded", "kafka"])
async def destination(request: pytest.FixtureRequest, settings: Settings, topic: str) -> AsyncIterator[Destination]:
    """The fake producer and Kafka, one after the other."""
    if request.param == "recorded":
        recording = RecordingProducer()
        yield Destination(recording, None, recording)
        return
    producer = FencedProducer(kafka_connection(settings), topic=topic)
    async with reading(settings.kafka_bootstrap_servers[0], topic) as reader:
        yield Destination(producer, reader, None)
    await producer.close()


async def _is_outbox_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


async def test_rows_are_published_in_order_and_deleted(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """Rows of a shard are appended to its partition by seq; then the outbox is empty."""
    rows = [await write_row(postgres, shard=number * 7 % 5) for number in range(300)]
    async with publishing_to(destination.producer, settings):
        published = await destination.count(len(rows))
        await poll_until(lambda: _is_outbox_empty(postgres))
    expected = [(row.event.shard, row.event.public_key, str(row.event.id), row.seq) for row in rows]
    for shard in range(5):
        assert [
            (record.shard, record.key, record.event_id, record.sequence)
            for record in published
            if record.shard == shard
        ] == [row for row in expected if row[0] == shard]


async def test_a_backlog_larger_than_the_window_is_published_once(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """It is read in windows; without a failure there are no duplicates."""
    await postgres.execute(
        "INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers)"
        " SELECT gen_random_uuid(), md5(n::text), 'projectkey.created', 1, 4, '{}', '{}'"
        " FROM generate_series(1, 1500) AS n"
    )
    async with publishing_to(destination.producer, settings):
        await poll_until(lambda: _is_outbox_empty(postgres))
        published = await destination.count(1500)
    sequences = [record.sequence for record in published]
    assert sequences == sorted(set(sequences))


async def test_versions_of_a_key_are_published_in_order(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """First versions are enqueued from memory while later ones are read from the table."""
    async with publishing_to(destination.producer, settings) as publisher:
        for _ in range(40):
            first = await write_row(postgres)
            later = [await write_row(postgres, key=first.event.public_key, version=2) for _ in range(2)]
            publisher.enqueue(later[:1])
            publisher.enqueue([first])
        published = await destination.count(120)
    by_key: dict[str, list[int]] = {}
    for record in published:
        by_key.setdefault(record.key, []).append(record.sequence)
    assert all(sequences == sorted(sequences) for sequences in by_key.values())


async def test_a_row_without_a_notification_is_found_by_polling(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """Another process wrote it and could not notify: the table is read every second."""
    async with publishing_to(destination.producer, settings):
        for number in range(1, 3):
            await write_row(postgres, shard=number)
            written_at = time.monotonic()
            await destination.count(number)
            assert time.monotonic() - written_at < _POLL


async def test_a_notified_row_is_published_before_the_next_poll(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """The next poll is one second after the last read."""
    async with publishing_to(destination.producer, settings):
        await write_row(postgres)
        await destination.count(1)
        await poll_until(lambda: _is_outbox_empty(postgres))
        await write_row(postgres)
        await notify_publishers(postgres)
        notified_at = time.monotonic()
        await destination.count(2)
        assert time.monotonic() - notified_at < 0.5


async def test_a_fenced_session_is_replaced(settings: Settings, postgres: Postgres, destination: Destination) -> None:
    """Another producer opened the shard though this process has the lease: it opens a new session."""
    async with publishing_to(destination.producer, settings):
        await destination.producer.open(2)
        row = await write_row(postgres, shard=2)
        [published] = await destination.count(1)
        await poll_until(lambda: _is_outbox_empty(postgres))
    assert published.event_id == str(row.event.id)
