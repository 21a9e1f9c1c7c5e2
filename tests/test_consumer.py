"""The consumer kit against the real broker: everything that is in the topic, and then what comes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from service.consumer import Change, KeyState, LoaderOptions, NotReadyError, ProjectKeys, RateLimit
from service.consumer.replica import Counts
from service.domain.events import EventType
from service.domain.model import new_key_half
from service.domain.partitioning import SHARDS, shard_of
from service.kafka.types import Record
from tests.events import eventually, until
from tests.kafka_harness import unused_port
from tests.telling import Teller, records_of, telling

_SOON = 5.0
"""Seconds within which a reader has heard of everything."""


@pytest.fixture
async def teller(kafka_bootstrap: str, topic: str) -> AsyncIterator[Teller]:
    """Something that writes into a topic of one test."""
    async with telling(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def reader(kafka_bootstrap: str, topic: str) -> ProjectKeys:
    """A reader of the same topic, not started."""
    return ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic)


def _a_key_of(shard: int) -> str:
    while shard_of(key := new_key_half()) != shard:
        pass
    return key


async def test_what_is_there_is_loaded_and_what_comes_is_followed(
    teller: Teller, reader: ProjectKeys
) -> None:
    """Keys of every partition are known at once when it is ready, later ones as soon as they are told."""
    old = [_a_key_of(shard) for shard in range(SHARDS)]
    for key in old:
        await teller.tell(key, 1, EventType.CREATED)
    async with reader as keys:
        assert not keys.is_ready
        await keys.ready(_SOON)
        assert (keys.is_ready, keys.problem, len(keys)) == (True, None, SHARDS)
        assert sorted(keys.public_keys()) == sorted(old)
        new = new_key_half()
        assert keys.get(new) is None
        await teller.tell(new, 1, EventType.CREATED, name="New")
        state = await keys.wait_for(new, 1, _SOON)
        assert state == keys.get(new)
        assert state is not None
        assert state.name == "New"


async def test_a_state_is_told_whole(teller: Teller, reader: ProjectKeys) -> None:
    """Every member of the value under its own name and type."""
    key = new_key_half()
    await teller.tell(
        key, 3, rateLimit={"window": 60, "count": 100}, isActive=False, projectId=7, more="later"
    )
    async with reader as keys:
        await keys.ready(_SOON)
        state = keys.get(key)
    assert state is not None
    assert replace(state, created_at=None) == KeyState(  # type: ignore[arg-type]  # -- the example's time is its own
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
    )
    assert state.created_at.isoformat() == "2026-11-24T04:54:16.722436+00:00"


async def test_an_empty_topic_is_ready_at_once(reader: ProjectKeys) -> None:
    """There is nothing to wait for, and every question has its answer: no such key."""
    async with reader as keys:
        await keys.ready(_SOON)
        assert (len(keys), keys.get(new_key_half())) == (0, None)


async def test_nothing_is_answered_before_all_is_known(kafka_bootstrap: str, teller: Teller) -> None:
    """None would be a lie, so it is refused; the time-out says what is in the way."""
    await teller.tell(new_key_half(), 1)
    nowhere = f"127.0.0.1:{unused_port()}"
    async with ProjectKeys(bootstrap_servers=nowhere, topic=teller.topic) as keys:
        with pytest.raises(NotReadyError):
            keys.get(new_key_half())
        with pytest.raises(NotReadyError, match=nowhere):
            await keys.ready(1.0)
    missing = ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=f"{teller.topic}-missing")
    async with missing as keys:
        with pytest.raises(NotReadyError, match=f"there is no topic {teller.topic}-missing"):
            await keys.ready(1.0)


async def test_waiting_for_a_version_ends_with_it_or_a_newer_one(teller: Teller, reader: ProjectKeys) -> None:
    """Callers before and after, of one version and of several, are all answered, nobody with an older one."""
    key = new_key_half()
    async with reader as keys:
        await keys.ready(_SOON)
        early = [asyncio.create_task(keys.wait_for(key, version, _SOON)) for version in (1, 1, 2, 3)]
        await teller.tell(key, 1)
        first, again, *later = early
        for one in (await first, await again):
            assert one is not None
            assert one.version >= 1
        await teller.tell(key, 3)
        for state in [*await asyncio.gather(*later), await keys.wait_for(key, 2, 0.1)]:
            assert state is not None
            assert state.version == 3


async def test_waiting_for_what_never_comes_ends_in_time(reader: ProjectKeys) -> None:
    """After its own seconds; and what cannot be a public key is said at once."""
    async with reader as keys:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await keys.wait_for(new_key_half(), 1, 0.2)
        assert time.monotonic() - began < 1
        with pytest.raises(ValueError, match="'nonsense' is no public key"):
            await keys.wait_for("nonsense", 1)
        await keys.ready(_SOON)
        assert keys.get("nonsense") is None


async def test_a_deleted_key_is_gone_and_stays_gone(teller: Teller, reader: ProjectKeys) -> None:
    """Its older versions come once more and do not bring it back; a newer one, given again, does."""
    key = new_key_half()
    async with reader as keys:
        await keys.ready(_SOON)
        await teller.tell(key, 1, EventType.CREATED)
        await keys.wait_for(key, 1, _SOON)
        await teller.tell(key, 2, EventType.DELETED)
        assert await keys.wait_for(key, 2, _SOON) is None
        await teller.tell(key, 1, EventType.CREATED)
        await teller.tell(key, 2, EventType.DELETED)
        await until(lambda: _has(keys, outdated=4), patience=_SOON)
        assert (keys.get(key), len(keys)) == (None, 0)
        await teller.tell(key, 3, EventType.CREATED)
        assert await keys.wait_for(key, 3, _SOON) is not None


async def _has(keys: ProjectKeys, **counts: int) -> bool:
    return all(getattr(keys.counts, name) >= number for name, number in counts.items())


async def test_a_tombstone_alone_deletes(teller: Teller, reader: ProjectKeys) -> None:
    """Compaction leaves no more of a deletion, in a topic that is read from its beginning."""
    key = new_key_half()
    await teller.tell(key, 1)
    await teller.append(records_of(key, 2, EventType.DELETED)[1:], shard_of(key))
    async with reader as keys:
        await keys.ready(_SOON)
        assert keys.get(key) is None
        assert await keys.wait_for(key, 2, 0.1) is None


async def test_older_versions_and_duplicates_change_nothing(teller: Teller, reader: ProjectKeys) -> None:
    """Whatever order faults and replays make of it, the newest version is served and told of once."""
    key, told = new_key_half(), []

    async def note(change: Change) -> None:
        told.append(change.version)

    reader.on_change(note)
    async with reader as keys:
        await keys.ready(_SOON)
        for version in (2, 2, 1, 3, 1, 2, 3):
            await teller.tell(key, version, name=f"version {version}")
        await until(lambda: _has(keys, applied=2, outdated=5), patience=_SOON)
        state = keys.get(key)
        assert state is not None
        assert (state.version, state.name) == (3, "version 3")
        await eventually(lambda: told and told[-1] == 3, patience=_SOON)
    assert told in ([2, 3], [3])


def _altered(record: Record, *, value: bytes | None = None, **headers: str | None) -> Record:
    kept = [one for one in record.headers if one[0] not in headers]
    given = [(name, text.encode()) for name, text in headers.items() if text is not None]
    return replace(record, value=record.value if value is None else value, headers=(*kept, *given))


async def test_what_is_not_known_is_passed_over(teller: Teller, reader: ProjectKeys) -> None:
    """Marks, types of later releases, records without a type: counted as ignored, and of no other effect."""
    key = new_key_half()
    [record] = records_of(key, 1)
    strangers = [
        _altered(record, ce_type="projectkey.renamed"),
        _altered(record, ce_type=None),
        replace(record, key=b"_later"),
    ]
    await teller.append(strangers, shard_of(key))
    await teller.mark(shard_of(key))
    async with reader as keys:
        await keys.ready(_SOON)
        assert keys.counts == Counts(ignored=5)
        await teller.mark()
        await until(lambda: _has(keys, ignored=7), patience=_SOON)
        assert len(keys) == 0


async def test_what_is_malformed_is_skipped_and_told_of(
    teller: Teller, reader: ProjectKeys, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that breaks its schema is no reason to stop: the next ones are applied, and the log tells where."""
    key, other = new_key_half(), new_key_half()
    [record] = records_of(key, 1)
    state: dict[str, Any] = json.loads(record.value or b"")
    broken = [
        _altered(record, value=b"{"),
        _altered(record, value=b"[]"),
        _altered(record, value=json.dumps({**state, "isActive": 1}).encode()),
        _altered(record, value=json.dumps({**state, "id": other}).encode()),
        _altered(record, value=json.dumps({**state, "version": 0}).encode()),
        _altered(record, ce_dataschema="urn:projectkeys:schema:projectkey.updated:2"),
        replace(record, key=b"no public key"),
        replace(record, value=None),
    ]
    await teller.append(broken, shard_of(key))
    await teller.tell(other, 1)
    async with reader as keys:
        await keys.ready(_SOON)
        assert (keys.get(key), keys.public_keys()) == (None, [other])
        assert keys.counts == Counts(applied=1, malformed=len(broken))
    skipped = [one.getMessage() for one in caplog.records if "Skipped the record" in one.getMessage()]
    assert len(skipped) == 4, "the first, the second, the fourth and the eighth"
    assert f"at offset 0 of {teller.topic}-{shard_of(key)}" in skipped[0]


async def test_the_lag_is_told(teller: Teller, reader: ProjectKeys) -> None:
    """Nothing is known before the start; then it is below a second, also when nothing comes."""
    before = reader.lag()
    assert (before.records, before.seconds, before.quiet) == (None, None, None)
    for partition in range(SHARDS):
        await teller.mark(partition)
    async with reader as keys:
        await keys.ready(_SOON)
        await eventually(lambda: (keys.lag().quiet or 0) > 1)
        await eventually(lambda: (keys.lag().seconds or 9) < 1)
        assert keys.lag().records == 0
