"""What the consumer kit keeps between runs: a file that is whole, of this topic, and young enough, or none."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from service.consumer import Change, ProjectKeys, snapshot
from service.consumer.errors import SnapshotError
from service.consumer.replica import Counts
from service.dev.ports import free_port
from service.domain.events import EventType
from service.domain.model import new_key_half
from service.domain.partitioning import SHARDS
from testkit.polling import poll_until
from tests.kafka_harness import new_topic
from tests.telling import Teller, telling

_SOON = 5.0


@pytest.fixture
async def teller(kafka_bootstrap: str, topic: str) -> AsyncIterator[Teller]:
    """Something that writes into a topic of one test."""
    async with telling(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the snapshot is."""
    return tmp_path / "keys"


Open = Callable[..., ProjectKeys]


@pytest.fixture
def read(kafka_bootstrap: str, topic: str, file: Path) -> Open:
    """Makes readers of the topic that keep the file."""

    def make(**options: object) -> ProjectKeys:
        given = {"bootstrap_servers": kafka_bootstrap, "topic": topic, "snapshot": file, **options}
        return ProjectKeys(**given)  # type: ignore[arg-type]  # -- as each test says

    return make


async def _kept(teller: Teller, read: Open) -> tuple[str, str]:
    """A key that lives and one that is deleted, both in the file of a reader that has ended."""
    living, deleted = new_key_half(), new_key_half()
    await teller.tell(living, 1, name="kept")
    await teller.tell(deleted, 2, EventType.DELETED)
    async with read() as keys:
        await keys.ready(_SOON)
    return living, deleted


async def test_a_restart_reads_only_what_has_come_since(teller: Teller, read: Open, file: Path) -> None:
    """The first run's end leaves the file; the second knows all of it, deletions too, and reads one record."""
    living, deleted = await _kept(teller, read)
    assert [one.name for one in file.parent.iterdir()] == [file.name], "nothing half-written is left"
    new = new_key_half()
    await teller.tell(new, 1)
    async with read() as keys:
        await keys.ready(_SOON)
        assert keys.counts == Counts(applied=1)
        assert sorted(keys.public_keys()) == sorted([living, new])
        await teller.tell(deleted, 1)
        await poll_until(lambda: keys.counts.outdated, timeout=_SOON)
        assert keys.get(deleted) is None


async def test_a_snapshot_serves_while_kafka_is_away(teller: Teller, read: Open) -> None:
    """What was known is answered though it is not ready; the lag tells how old it is."""
    living, _ = await _kept(teller, read)
    async with read(bootstrap_servers=f"127.0.0.1:{free_port()}") as keys:
        state = await keys.wait_for(living, 1, _SOON)
        assert state is not None
        assert state.name == "kept"
        assert not keys.is_ready
        assert keys.problem is not None
        assert keys.lag().seconds is not None


async def test_the_snapshot_is_written_while_it_runs(teller: Teller, read: Open, file: Path) -> None:
    """Again and again, once everything is known and whenever anything has come: a kill loses little."""
    async with read(snapshot_every=0.05) as keys:
        await keys.ready(_SOON)
        for version in (1, 2):
            key = new_key_half()
            await teller.tell(key, version)
            await poll_until(partial(_is_in, file, key), timeout=_SOON)


async def _is_in(file: Path, key: str) -> bool:
    found = snapshot.read(file)
    return found is not None and bytes.fromhex(key) in found.states


def _harm(file: Path, harm: Callable[[bytes], bytes]) -> None:
    file.write_bytes(harm(file.read_bytes()))


def _cut(data: bytes) -> bytes:
    return data[:-1]


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _of_a_later_form(data: bytes) -> bytes:
    return data.replace(b"snapshot 1", b"snapshot 2")


@pytest.mark.parametrize(
    "harm",
    [_cut, _flip, _of_a_later_form, lambda _: b"", lambda _: b"something else altogether"],
    ids=["torn", "a bit", "a later form", "empty", "foreign"],
)
async def test_a_file_that_is_not_whole_is_left_alone(
    teller: Teller, read: Open, file: Path, harm: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The topic is read from its beginning, the log tells why, and the end puts a good file in its place."""
    living, _ = await _kept(teller, read)
    _harm(file, harm)
    async with read() as keys:
        await keys.ready(_SOON)
        assert keys.counts == Counts(applied=2, outdated=1)
        assert keys.get(living) is not None
    assert f"{file} is not used: it is" in caplog.text
    found = snapshot.read(file)
    assert found is not None
    assert len(found.states) == 1


async def _stored(file: Path, **changes: object) -> None:
    found = snapshot.read(file)
    assert found is not None
    snapshot.write(file, replace(found, **changes))  # type: ignore[arg-type]  # -- as each test says


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"topic": "another"}, "it is of the topic another"),
        ({"cluster": "another"}, "it is of another cluster"),
        ({"as_of": 0.0}, "it is too old to tell of every deletion"),
    ],
    ids=["topic", "cluster", "age"],
)
async def test_a_file_of_something_else_is_left_alone(
    teller: Teller,
    read: Open,
    file: Path,
    changes: dict[str, object],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its keys are never served, not even for a moment; the topic is read from its beginning."""
    living, _ = await _kept(teller, read)
    phantom = bytes.fromhex(new_key_half())
    found = snapshot.read(file)
    assert found is not None
    await _stored(file, states={phantom: found.states[bytes.fromhex(living)]}, **changes)
    async with read() as keys:
        await keys.ready(_SOON)
        assert keys.public_keys() == [living]
    assert why in caplog.text


async def test_a_topic_made_anew_is_read_from_its_beginning(
    teller: Teller, read: Open, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends before what was read of the old one: of what was held, only what it tells is served on."""
    living, _ = await _kept(teller, read)
    await _stored(file, positions=dict.fromkeys(range(SHARDS), 1000))
    told: list[Change] = []
    new = new_key_half()
    await teller.tell(new, 1)

    async def note(change: Change) -> None:
        told.append(change)

    async with read() as keys:
        keys.on_change(note)
        await keys.ready(_SOON)
        assert sorted(keys.public_keys()) == sorted([living, new])
        await poll_until(lambda: told, timeout=_SOON)
    assert [one.public_key for one in told] == [new], "what is as before is no change"
    assert "the topic ends before what was read of it" in caplog.text


async def test_a_topic_of_other_partitions_is_read_from_its_beginning(
    teller: Teller, read: Open, file: Path, kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Positions of partitions that are not there, or that lack some, tell nothing."""
    await _kept(teller, read)
    small = await new_topic(kafka_bootstrap, partitions=3)
    await _stored(file, topic=small)
    async with read(topic=small) as keys:
        await keys.ready(_SOON)
        assert len(keys) == 0
    assert "other partitions than before" in caplog.text


async def test_who_was_away_too_long_reads_anew(
    teller: Teller, read: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While it was suspended, tombstones may have come and gone: a key that nobody tells of any more is dropped."""
    living, _ = await _kept(teller, read)
    async with read(snapshot_max_age=3600.0) as keys:
        await keys.ready(_SOON)
        keys._replica.table.states[bytes.fromhex(new_key_half())] = b""
        assert len(keys) == 2
        later = time.time() + 7200
        monkeypatch.setattr(time, "time", lambda: later)
        await poll_until(lambda: len(keys) == 1, timeout=_SOON)
        assert keys.public_keys() == [living]
    assert "the tombstones of deleted keys may be gone" in caplog.text


async def test_a_directory_that_cannot_be_written_is_no_end(
    teller: Teller, read: Open, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The keys are served on, and the log tells of it at each try and at the end."""
    await teller.tell(new_key_half(), 1)
    async with read(snapshot=file / "no such directory" / "keys", snapshot_every=0.05) as keys:
        await keys.ready(_SOON)
        await poll_until(lambda: "cannot be written" in caplog.text, timeout=_SOON)
        assert len(keys) == 1
        with pytest.raises(OSError, match="no such directory"):
            await keys.save()
    assert "The snapshot cannot be written" in caplog.text


async def test_nothing_is_written_before_everything_is_known(read: Open, file: Path) -> None:
    """Half of the keys would be taken for all of them; and there is nothing to write without a file."""
    async with read(bootstrap_servers=f"127.0.0.1:{free_port()}") as keys:
        await keys.save()
    async with read(snapshot=None) as keys:
        await keys.ready(_SOON)
        await keys.save()
    assert snapshot.read(file) is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while it is written leaves the one that was there, and no rest."""
    file = tmp_path / "keys"
    held = snapshot.Snapshot("topic", "cluster", {0: 1}, 1.0, {b"k" * 16: b"state"}, {b"d" * 16: 7})
    snapshot.write(file, held)
    assert snapshot.read(file) == held

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        snapshot.write(file, replace(held, states={}))
    assert snapshot.read(file) == held
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    """A directory in its place, say; a file that is not there is none."""
    with pytest.raises(SnapshotError, match="it cannot be read"):
        snapshot.read(tmp_path)
    assert snapshot.read(tmp_path / "none") is None


async def test_a_reader_that_is_cancelled_keeps_what_it_knew(teller: Teller, read: Open, file: Path) -> None:
    """The end of the program is the usual end of the block."""
    await teller.tell(new_key_half(), 1)
    ready = asyncio.Event()

    async def program() -> None:
        async with read() as keys:
            await keys.ready(_SOON)
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(program())
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = snapshot.read(file)
    assert found is not None
    assert len(found.states) == 1
