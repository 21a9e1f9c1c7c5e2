"""The consumer kit's snapshot: used if it is undamaged, recent and of the same topic; ignored otherwise."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from projectkeys_consumer import Change, ProjectKeys
from projectkeys_consumer.snapshot import read_snapshot, write_snapshot
from projectkeys_consumer.view import Counts
from projectkeys_servers.ports import free_port
from service.domain.events import SHARDS, EventType
from service.domain.model import new_key_half
from testkit.polling import poll_until
from tests.kafka_harness import new_topic
from tests.topic_writer import TopicWriter, topic_writer

_TIMEOUT = 5.0


@pytest.fixture
async def writer(kafka_bootstrap: str, topic: str) -> AsyncIterator[TopicWriter]:
    """A writer to the topic of one test."""
    async with topic_writer(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of the snapshot."""
    return tmp_path / "keys"


OpenReader = Callable[..., ProjectKeys]


@pytest.fixture
def read(kafka_bootstrap: str, topic: str, file: Path) -> OpenReader:
    """Return a function that creates readers of the topic with the snapshot file."""

    def create(**options: object) -> ProjectKeys:
        arguments = {"bootstrap_servers": kafka_bootstrap, "topic": topic, "snapshot": file, **options}
        return ProjectKeys(**arguments)  # type: ignore[arg-type]  # -- each test passes valid ones

    return create


async def _write_first_snapshot(writer: TopicWriter, read: OpenReader) -> tuple[str, str]:
    """Return an existing key and a deleted key, both in the snapshot of a reader that has ended."""
    existing, deleted = new_key_half(), new_key_half()
    await writer.write(existing, 1, name="stored")
    await writer.write(deleted, 2, EventType.DELETED)
    async with read() as keys:
        await keys.ready(_TIMEOUT)
    return existing, deleted


async def test_a_restart_reads_only_newer_records(writer: TopicWriter, read: OpenReader, file: Path) -> None:
    """The first run writes the snapshot at its end; the second has its keys and deletions, and reads one record."""
    existing, deleted = await _write_first_snapshot(writer, read)
    assert list(file.parent.iterdir()) == [file], "no temporary file remains"
    new = new_key_half()
    await writer.write(new, 1)
    async with read() as keys:
        await keys.ready(_TIMEOUT)
        assert keys.counts == Counts(applied=1)
        assert sorted(keys.public_keys()) == sorted([existing, new])
        await writer.write(deleted, 1)
        await poll_until(lambda: keys.counts.outdated, timeout=_TIMEOUT)
        assert keys.get(deleted) is None


async def test_a_snapshot_is_served_while_kafka_is_unavailable(writer: TopicWriter, read: OpenReader) -> None:
    """Lookups work although the reader is not ready; the lag is the age of the snapshot."""
    existing, _ = await _write_first_snapshot(writer, read)
    async with read(bootstrap_servers=f"127.0.0.1:{free_port()}") as keys:
        state = await keys.wait_for(existing, 1, _TIMEOUT)
        assert state is not None
        assert state.name == "stored"
        assert not keys.is_ready
        assert keys.problem is not None
        assert keys.lag().seconds is not None


async def test_the_snapshot_is_written_periodically(writer: TopicWriter, read: OpenReader, file: Path) -> None:
    """At each interval in which records were read, so that a killed process reads few records again."""
    async with read(snapshot_interval=0.05) as keys:
        await keys.ready(_TIMEOUT)
        for version in (1, 2):
            key = new_key_half()
            await writer.write(key, version)
            await poll_until(partial(_contains, file, key), timeout=_TIMEOUT)


async def _contains(file: Path, key: str) -> bool:
    snapshot = read_snapshot(file)
    return snapshot is not None and bytes.fromhex(key) in snapshot.states


def _damage_file(file: Path, damage: Callable[[bytes], bytes]) -> None:
    file.write_bytes(damage(file.read_bytes()))


def _truncate(data: bytes) -> bytes:
    return data[:-1]


def _flip_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _increment_format(data: bytes) -> bytes:
    return data.replace(b"snapshot 1", b"snapshot 2")


@pytest.mark.parametrize(
    "damage",
    [_truncate, _flip_bit, _increment_format, lambda _: b"", lambda _: b"not a snapshot"],
    ids=["truncated", "flipped bit", "later format", "empty", "other content"],
)
async def test_a_damaged_snapshot_is_not_used(
    writer: TopicWriter,
    read: OpenReader,
    file: Path,
    damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning is logged, the topic is read from its beginning, and the file is replaced at the end."""
    existing, _ = await _write_first_snapshot(writer, read)
    _damage_file(file, damage)
    async with read() as keys:
        await keys.ready(_TIMEOUT)
        assert keys.counts == Counts(applied=2, outdated=1)
        assert keys.get(existing) is not None
    assert f"The snapshot {file} is not used: it is" in caplog.text
    snapshot = read_snapshot(file)
    assert snapshot is not None
    assert len(snapshot.states) == 1


async def _change_snapshot(file: Path, **changes: object) -> None:
    snapshot = read_snapshot(file)
    assert snapshot is not None
    write_snapshot(file, replace(snapshot, **changes))  # type: ignore[arg-type]  # -- each test passes valid ones


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"topic": "another"}, "it is of the topic another"),
        ({"cluster": "another"}, "it is of another cluster"),
        ({"as_of": 0.0}, "it is older than snapshot_max_age"),
    ],
    ids=["topic", "cluster", "age"],
)
async def test_a_snapshot_that_does_not_fit_is_not_used(
    writer: TopicWriter,
    read: OpenReader,
    file: Path,
    changes: dict[str, object],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its keys are never served; the topic is read from its beginning."""
    existing, _ = await _write_first_snapshot(writer, read)
    unknown = bytes.fromhex(new_key_half())
    snapshot = read_snapshot(file)
    assert snapshot is not None
    await _change_snapshot(file, states={unknown: snapshot.states[bytes.fromhex(existing)]}, **changes)
    async with read() as keys:
        await keys.ready(_TIMEOUT)
        assert keys.public_keys() == [existing]
    assert reason in caplog.text


async def test_a_recreated_topic_is_read_from_its_beginning(
    writer: TopicWriter, read: OpenReader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends before the known positions; keys that are not in the new topic are removed."""
    existing, _ = await _write_first_snapshot(writer, read)
    await _change_snapshot(file, positions=dict.fromkeys(range(SHARDS), 1000))
    changes: list[Change] = []
    new = new_key_half()
    await writer.write(new, 1)

    async def append(change: Change) -> None:
        changes.append(change)

    async with read() as keys:
        keys.on_change(append)
        await keys.ready(_TIMEOUT)
        assert sorted(keys.public_keys()) == sorted([existing, new])
        await poll_until(lambda: changes, timeout=_TIMEOUT)
    assert [change.public_key for change in changes] == [new], "an equal state is no change"
    assert "the topic ends before the known position" in caplog.text


async def test_a_topic_with_other_partitions_is_read_from_its_beginning(
    writer: TopicWriter, read: OpenReader, file: Path, kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Positions of other partitions cannot be used."""
    await _write_first_snapshot(writer, read)
    small = await new_topic(kafka_bootstrap, partitions=3)
    await _change_snapshot(file, topic=small)
    async with read(topic=small) as keys:
        await keys.ready(_TIMEOUT)
        assert len(keys) == 0
    assert "the topic's partitions have changed" in caplog.text


async def test_a_reader_that_was_suspended_too_long_reads_the_whole_topic(
    writer: TopicWriter, read: OpenReader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka may have removed tombstones meanwhile: keys that are not in the topic are removed."""
    existing, _ = await _write_first_snapshot(writer, read)
    async with read(snapshot_max_age=3600.0) as keys:
        await keys.ready(_TIMEOUT)
        keys._view.table.states[bytes.fromhex(new_key_half())] = b""
        assert len(keys) == 2
        later = time.time() + 7200
        monkeypatch.setattr(time, "time", lambda: later)
        await poll_until(lambda: len(keys) == 1, timeout=_TIMEOUT)
        assert keys.public_keys() == [existing]
    assert "tombstones may have been removed" in caplog.text


async def test_a_snapshot_that_cannot_be_written_is_logged(
    writer: TopicWriter, read: OpenReader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At each interval and at the end of the block; lookups continue."""
    await writer.write(new_key_half(), 1)
    async with read(snapshot=file / "no such directory" / "keys", snapshot_interval=0.05) as keys:
        await keys.ready(_TIMEOUT)
        await poll_until(lambda: "cannot be written" in caplog.text, timeout=_TIMEOUT)
        assert len(keys) == 1
        with pytest.raises(OSError, match="no such directory"):
            await keys.save()
    assert "The snapshot cannot be written" in caplog.text


async def test_no_snapshot_is_written_before_the_reader_is_ready(read: OpenReader, file: Path) -> None:
    """An incomplete one would lack keys; without a file, `save` does nothing."""
    async with read(bootstrap_servers=f"127.0.0.1:{free_port()}") as keys:
        await keys.save()
    async with read(snapshot=None) as keys:
        await keys.ready(_TIMEOUT)
        await keys.save()
    assert read_snapshot(file) is None


async def test_a_cancelled_reader_writes_its_snapshot(writer: TopicWriter, read: OpenReader, file: Path) -> None:
    """Cancelling the program ends the block as usual."""
    await writer.write(new_key_half(), 1)
    ready = asyncio.Event()

    async def program() -> None:
        async with read() as keys:
            await keys.ready(_TIMEOUT)
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(program())
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    snapshot = read_snapshot(file)
    assert snapshot is not None
    assert len(snapshot.states) == 1
