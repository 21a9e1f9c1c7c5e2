"""The consumer kit with a real broker: reading the topic to its end, and following it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from projectkeys_consumer import Change, KeyState, LoaderOptions, NotReadyError, ProjectKeys, RateLimit
from projectkeys_consumer.view import Counts
from projectkeys_servers.ports import free_port
from service.domain.events import SHARDS, EventType, shard_of
from service.domain.model import new_key_half
from service.kafka.types import Record
from testkit.polling import poll_until
from tests.topic_writer import TopicWriter, records_of, topic_writer

_TIMEOUT = 5.0
"""Seconds within which a reader has read everything."""


@pytest.fixture
async def writer(kafka_bootstrap: str, topic: str) -> AsyncIterator[TopicWriter]:
    """A writer to the topic of one test."""
    async with topic_writer(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def reader(kafka_bootstrap: str, topic: str) -> ProjectKeys:
    """A reader of the same topic that has not been started."""
    return ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic)


def _key_in(shard: int) -> str:
    while shard_of(key := new_key_half()) != shard:
        pass
    return key


async def test_existing_keys_are_loaded_and_new_keys_are_followed(writer: TopicWriter, reader: ProjectKeys) -> None:
    """Keys of every partition are known when the reader is ready, later ones soon after they are published."""
    old = [_key_in(shard) for shard in range(SHARDS)]
    for key in old:
        await writer.write(key, 1, EventType.CREATED)
    async with reader as keys:
        assert not keys.is_ready
        await keys.ready(_TIMEOUT)
        assert (keys.is_ready, keys.problem, len(keys)) == (True, None, SHARDS)
        assert sorted(keys.public_keys()) == sorted(old)
        new = new_key_half()
        assert keys.get(new) is None
        await writer.write(new, 1, EventType.CREATED, name="New")
        state = await keys.wait_for(new, 1, _TIMEOUT)
        assert state == keys.get(new)
        assert state is not None
        assert state.name == "New"


async def test_every_member_of_a_state_is_decoded(writer: TopicWriter, reader: ProjectKeys) -> None:
    """Each member of the value has its own attribute and type; unknown members are ignored."""
    key = new_key_half()
    await writer.write(key, 3, rateLimit={"window": 60, "count": 100}, isActive=False, projectId=7, more="later")
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        state = keys.get(key)
    assert state is not None
    assert replace(state, created_at=None) == KeyState(  # type: ignore[arg-type]  # -- the time is compared below
        public_key=key,
        version=3,
        organization_id=1,
        project_id=7,
        name="Fabulous Key",
        is_active=False,
        rate_limit=RateLimit(60, 100),
        dsn=f"https://{key}@ingest.example.com/1",
        browser_sdk_version="10.x",
        loader_options=LoaderOptions(),
        created_at=None,  # type: ignore[arg-type]  # -- as above
        key_id=17,
    )
    assert state.created_at.isoformat() == "2026-11-24T04:54:16.722436+00:00"


async def test_an_empty_topic_is_ready_at_once(reader: ProjectKeys) -> None:
    """There is nothing to wait for, and no key exists."""
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        assert (len(keys), keys.get(new_key_half())) == (0, None)


async def test_lookups_fail_before_the_reader_is_ready(kafka_bootstrap: str, writer: TopicWriter) -> None:
    """`get` raises instead of returning None; the error of `ready` gives the reason."""
    await writer.write(new_key_half(), 1)
    unreachable = f"127.0.0.1:{free_port()}"
    async with ProjectKeys(bootstrap_servers=unreachable, topic=writer.topic) as keys:
        with pytest.raises(NotReadyError):
            keys.get(new_key_half())
        with pytest.raises(NotReadyError, match=unreachable):
            await keys.ready(1.0)
    missing = ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=f"{writer.topic}-missing")
    async with missing as keys:
        with pytest.raises(NotReadyError, match=f"there is no topic {writer.topic}-missing"):
            await keys.ready(1.0)


async def test_wait_for_returns_the_version_or_a_newer_one(writer: TopicWriter, reader: ProjectKeys) -> None:
    """Callers that wait before and after the record, for one version and for several, never get an older one."""
    key = new_key_half()
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        early = [asyncio.create_task(keys.wait_for(key, version, _TIMEOUT)) for version in (1, 1, 2, 3)]
        await writer.write(key, 1)
        first, again, *later = early
        for state in (await first, await again):
            assert state is not None
            assert state.version >= 1
        await writer.write(key, 3)
        for state in [*await asyncio.gather(*later), await keys.wait_for(key, 2, 0.1)]:
            assert state is not None
            assert state.version == 3


async def test_wait_for_raises_after_its_timeout(reader: ProjectKeys) -> None:
    """A text that is not a public key raises at once."""
    async with reader as keys:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await keys.wait_for(new_key_half(), 1, 0.2)
        assert time.monotonic() - began < 1
        with pytest.raises(ValueError, match="'nonsense' is not a public key"):
            await keys.wait_for("nonsense", 1)
        await keys.ready(_TIMEOUT)
        assert keys.get("nonsense") is None


async def test_a_deleted_key_stays_deleted(writer: TopicWriter, reader: ProjectKeys) -> None:
    """Duplicates of older versions do not restore it; a newer version of the same key does."""
    key = new_key_half()
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        await writer.write(key, 1, EventType.CREATED)
        await keys.wait_for(key, 1, _TIMEOUT)
        await writer.write(key, 2, EventType.DELETED)
        assert await keys.wait_for(key, 2, _TIMEOUT) is None
        await writer.write(key, 1, EventType.CREATED)
        await writer.write(key, 2, EventType.DELETED)
        await poll_until(lambda: _has(keys, outdated=4), timeout=_TIMEOUT)
        assert (keys.get(key), len(keys)) == (None, 0)
        await writer.write(key, 3, EventType.CREATED)
        assert await keys.wait_for(key, 3, _TIMEOUT) is not None


async def _has(keys: ProjectKeys, **counts: int) -> bool:
    return all(getattr(keys.counts, name) >= number for name, number in counts.items())


async def test_a_tombstone_alone_deletes(writer: TopicWriter, reader: ProjectKeys) -> None:
    """After compaction, the topic contains nothing else of a deleted key."""
    key = new_key_half()
    await writer.write(key, 1)
    await writer.append(records_of(key, 2, EventType.DELETED)[1:], shard_of(key))
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        assert keys.get(key) is None
        assert await keys.wait_for(key, 2, 0.1) is None


async def test_older_versions_and_duplicates_change_nothing(writer: TopicWriter, reader: ProjectKeys) -> None:
    """After faults and replays the newest version is served, and the callback gets each version at most once."""
    key, versions = new_key_half(), []

    async def append_version(change: Change) -> None:
        versions.append(change.version)

    reader.on_change(append_version)
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        for version in (2, 2, 1, 3, 1, 2, 3):
            await writer.write(key, version, name=f"version {version}")
        await poll_until(lambda: _has(keys, applied=2, outdated=5), timeout=_TIMEOUT)
        state = keys.get(key)
        assert state is not None
        assert (state.version, state.name) == (3, "version 3")
        await poll_until(lambda: versions and versions[-1] == 3, timeout=_TIMEOUT)
    assert versions in ([2, 3], [3])


def _altered(record: Record, *, value: bytes | None = None, **headers: str | None) -> Record:
    unchanged = [header for header in record.headers if header[0] not in headers]
    changed = [(name, text.encode()) for name, text in headers.items() if text is not None]
    return replace(record, value=record.value if value is None else value, headers=[*unchanged, *changed])


async def test_unknown_records_are_ignored(writer: TopicWriter, reader: ProjectKeys) -> None:
    """Control records, types of later releases and records without a type are only counted."""
    key = new_key_half()
    [record] = records_of(key, 1)
    unknown = [
        _altered(record, ce_type="projectkey.renamed"),
        _altered(record, ce_type=None),
        replace(record, key=b"_later"),
    ]
    await writer.append(unknown, shard_of(key))
    await writer.write_control_records(shard_of(key))
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        assert keys.counts == Counts(ignored=5)
        await writer.write_control_records()
        await poll_until(lambda: _has(keys, ignored=7), timeout=_TIMEOUT)
        assert len(keys) == 0


async def test_malformed_records_are_skipped_counted_and_logged(
    writer: TopicWriter, reader: ProjectKeys, caplog: pytest.LogCaptureFixture
) -> None:
    """The records after a malformed one are applied; the log has its offset."""
    key, other = new_key_half(), new_key_half()
    [record] = records_of(key, 1)
    state: dict[str, Any] = json.loads(record.value or b"")
    malformed = [
        _altered(record, value=b"{"),
        _altered(record, value=b"[]"),
        _altered(record, value=json.dumps({**state, "isActive": 1}).encode()),
        _altered(record, value=json.dumps({**state, "id": other}).encode()),
        _altered(record, value=json.dumps({**state, "version": 0}).encode()),
        _altered(record, ce_dataschema="urn:projectkeys:schema:projectkey.updated:2"),
        replace(record, key=b"no public key"),
        replace(record, value=None),
    ]
    await writer.append(malformed, shard_of(key))
    await writer.write(other, 1)
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        assert (keys.get(key), keys.public_keys()) == (None, [other])
        assert keys.counts == Counts(applied=1, malformed=len(malformed))
    skipped = [entry.getMessage() for entry in caplog.records if "Skipped the record" in entry.getMessage()]
    assert len(skipped) == 4, "records 1, 2, 4 and 8"
    assert f"at offset 0 of {writer.topic}-{shard_of(key)}" in skipped[0]


async def test_the_lag_is_below_one_second_while_the_topic_is_idle(writer: TopicWriter, reader: ProjectKeys) -> None:
    """Before the start the lag is unknown."""
    before = reader.lag()
    assert (before.records, before.seconds, before.idle_seconds) == (None, None, None)
    for partition in range(SHARDS):
        await writer.write_control_records(partition)
    async with reader as keys:
        await keys.ready(_TIMEOUT)
        await poll_until(lambda: (keys.lag().idle_seconds or 0) > 1)
        await poll_until(lambda: (keys.lag().seconds or 9) < 1)
        assert keys.lag().records == 0
