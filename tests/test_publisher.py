"""The publisher's contract, against a recording stand-in and Apache Kafka alike."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from service.app import kafka_connection
from service.kafka.producer import FencedProducer
from service.kafka.types import Record
from service.postgres.outbox import notify_publishers
from service.publisher.protocols import Producer
from service.settings import Settings
from tests.events import Reader, reading, until
from tests.outbox import Postgres, waiting, write_row
from tests.publishing import publishing_to
from tests.recording_producer import RecordingProducer

_POLL = 1.2
"""Seconds within which a row is found that nobody told of."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record where consumers would find it."""

    shard: int
    key: str
    event_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Destination:
    """Somewhere to publish to, and what has arrived there: at least so many records."""

    producer: Producer
    reader: Reader | None
    recording: RecordingProducer | None

    async def count(self, number: int) -> list[Arrived]:
        """What is there once it is ``number`` records or more."""
        if self.reader is not None:
            return [_arrived(one.partition, one.key, one.headers) for one in await self.reader.count(number)]
        assert self.recording is not None, "it is one or the other"
        log = self.recording.log
        await until(lambda: _reaches(log, number))
        return [_arrived(shard, record.key, record.headers) for shard, record in log]


async def _reaches(log: list[tuple[int, Record]], number: int) -> bool:
    return len(log) >= number


def _arrived(shard: int, key: bytes, headers: tuple[tuple[str, bytes], ...]) -> Arrived:
    values = {name: value.decode() for name, value in headers}
    return Arrived(shard, key.decode(), values["ce_id"], int(values["ce_sequence"]))


@pytest.fixture(params=["recorded", "kafka"])
async def destination(
    request: pytest.FixtureRequest, settings: Settings, topic: str
) -> AsyncIterator[Destination]:
    """Both kinds, one after the other."""
    if request.param == "recorded":
        recording = RecordingProducer()
        yield Destination(recording, None, recording)
        return
    producer = FencedProducer(kafka_connection(settings), topic=topic)
    async with reading(settings.kafka_bootstrap_servers[0], topic) as reader:
        yield Destination(producer, reader, None)
    await producer.close()


async def _is_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


async def test_rows_arrive_in_their_order_and_are_deleted(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """Each shard's rows by their numbers, in the partition of the shard; then the outbox is empty."""
    rows = [await write_row(postgres, shard=number * 7 % 5) for number in range(300)]
    async with publishing_to(destination.producer, settings):
        arrived = await destination.count(len(rows))
        await until(lambda: _is_empty(postgres))
    expected = [(row.event.shard, row.event.public_key, str(row.event.id), row.seq) for row in rows]
    for shard in range(5):
        assert [
            (one.shard, one.key, one.event_id, one.sequence) for one in arrived if one.shard == shard
        ] == [row for row in expected if row[0] == shard]


async def test_more_rows_than_memory_holds_all_arrive_once(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """A backlog is read in windows; without a fault nothing comes twice."""
    await postgres.execute(
        "INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers)"
        " SELECT gen_random_uuid(), md5(n::text), 'projectkey.created', 1, 4, '{}', '{}'"
        " FROM generate_series(1, 1500) AS n"
    )
    async with publishing_to(destination.producer, settings):
        await until(lambda: _is_empty(postgres))
        arrived = await destination.count(1500)
    sequences = [one.sequence for one in arrived]
    assert sequences == sorted(set(sequences))


async def test_each_version_of_a_key_follows_the_one_before(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """The first versions are handed over in memory while later ones come through the table only."""
    async with publishing_to(destination.producer, settings) as publisher:
        for _ in range(40):
            first = await write_row(postgres)
            later = [await write_row(postgres, key=first.event.public_key, version=2) for _ in range(2)]
            publisher.enqueue(later[:1])
            publisher.enqueue([first])
        arrived = await destination.count(120)
    by_key: dict[str, list[int]] = {}
    for one in arrived:
        by_key.setdefault(one.key, []).append(one.sequence)
    assert all(sequences == sorted(sequences) for sequences in by_key.values())


async def test_a_row_that_nobody_told_of_is_found(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """Written by another process that could not notify: the table is read every second."""
    async with publishing_to(destination.producer, settings):
        for number in range(1, 3):
            await write_row(postgres, shard=number)
            written_at = time.monotonic()
            await destination.count(number)
            assert time.monotonic() - written_at < _POLL


async def test_a_notification_is_quicker_than_the_poll(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """The next poll is a second away, for it counts from the last reading."""
    async with publishing_to(destination.producer, settings):
        await write_row(postgres)
        await destination.count(1)
        await until(lambda: _is_empty(postgres))
        await write_row(postgres)
        await notify_publishers(postgres)
        notified_at = time.monotonic()
        await destination.count(2)
        assert time.monotonic() - notified_at < 0.5


async def test_a_session_that_was_fenced_off_is_replaced(
    settings: Settings, postgres: Postgres, destination: Destination
) -> None:
    """Somebody else opened the shard though the database says that it is ours: we open it again."""
    async with publishing_to(destination.producer, settings):
        await destination.producer.open(2)
        row = await write_row(postgres, shard=2)
        [arrived] = await destination.count(1)
        await until(lambda: _is_empty(postgres))
    assert arrived.event_id == str(row.event.id)
