"""The consumer kit: waiting for everything that is in the topic, and the age of a snapshot."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from projectkeys_consumer import NotReadyError, ProjectKeys
from projectkeys_consumer.catch_up import CatchUp
from projectkeys_consumer.errors import MalformedRecordError
from projectkeys_consumer.records import parse_record
from projectkeys_consumer.state import decode_state
from projectkeys_servers.ports import free_port
from service.domain.events import ADDED_MEMBERS
from service.domain.model import new_key_half
from tests.kafka_harness import configure
from tests.topic_writer import TopicWriter, records_of, topic_writer

_TIMEOUT = 5.0


@pytest.fixture
async def writer(kafka_bootstrap: str, topic: str) -> AsyncIterator[TopicWriter]:
    """A writer to the topic of one test."""
    async with topic_writer(kafka_bootstrap, topic) as opened:
        yield opened


async def test_a_written_key_is_known_after_catching_up(
    kafka_bootstrap: str, topic: str, writer: TopicWriter
) -> None:
    """Without a wait for the key itself; the end offsets do not wait for a fetch that is in progress."""
    async with ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic) as keys:
        await keys.ready(_TIMEOUT)
        for _ in range(5):
            key = new_key_half()
            await writer.write(key, 1)
            await keys.catch_up(_TIMEOUT)
            assert keys.version(key) == 1
            assert keys.value(key) == records_of(key, 1)[0].value
    assert keys.version(new_key_half()) == keys.version("no key") == 0


async def test_catching_up_fails_without_kafka() -> None:
    """So does a value, because a missing one would prove nothing."""
    async with ProjectKeys(bootstrap_servers=f"127.0.0.1:{free_port()}") as keys:
        assert not keys.is_complete
        with pytest.raises(NotReadyError):
            await keys.catch_up(0.2)
        with pytest.raises(NotReadyError):
            keys.value(new_key_half())


async def test_callers_share_a_request_that_is_sent_after_their_calls() -> None:
    """A caller that comes while one is in progress waits for the next one; all others share it."""
    requests: list[asyncio.Future[dict[int, int]]] = []
    applied = {0: 0}

    async def request_ends() -> dict[int, int]:
        requests.append(asyncio.get_running_loop().create_future())
        return await requests[-1]

    catch_up = CatchUp(request_ends, lambda ends: applied[0] >= ends[0])
    first = [asyncio.create_task(catch_up.wait()) for _ in range(3)]
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(catch_up.wait()) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert len(requests) == 1
    requests[0].set_result({0: 0})
    await asyncio.gather(*first)
    await asyncio.sleep(0.01)
    assert len(requests) == 2
    requests[1].set_result({0: 5})
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in later)
    applied[0] = 5
    catch_up.wake()
    await asyncio.gather(*later)
    failing = asyncio.create_task(catch_up.wait())
    await asyncio.sleep(0.01)
    requests[2].set_exception(OSError("no broker"))
    with pytest.raises(OSError, match="no broker"):
        await failing


async def test_the_age_limit_of_snapshots_can_be_that_of_the_topic(kafka_bootstrap: str, topic: str) -> None:
    """Half of ``delete.retention.ms``; the default of Kafka is a day."""
    for retention, expected in ((None, 12 * 3600), (7000, 3.5)):
        if retention:
            await configure(kafka_bootstrap, topic, {"delete.retention.ms": str(retention)})
        keys = ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic, snapshot_max_age=None)
        async with keys:
            await keys.ready(_TIMEOUT)
            assert keys._synchronizer._max_age == expected


async def test_the_delay_of_records_is_measured_by_the_own_clock(
    kafka_bootstrap: str, topic: str, writer: TopicWriter
) -> None:
    """From the timestamp of the record; unknown before the first record after the start."""
    await writer.write(new_key_half(), 1)
    async with ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic) as keys:
        await keys.ready(_TIMEOUT)
        assert keys.lag().delivery_seconds is None
        key = new_key_half()
        await writer.write(key, 1)
        await keys.wait_for(key, 1, _TIMEOUT)
        written_at = datetime(2026, 11, 24, 4, 54, 16, tzinfo=UTC)
        expected = (datetime.now(UTC) - written_at).total_seconds()
        assert keys.lag().delivery_seconds == pytest.approx(expected, abs=60)


@pytest.mark.parametrize("serves", [False, True])
async def test_an_outdated_snapshot_is_served_without_kafka_only_if_requested(
    kafka_bootstrap: str, topic: str, writer: TopicWriter, tmp_path: Path, *, serves: bool
) -> None:
    """Its keys may have been deleted since, so that is not the default."""
    key, file = new_key_half(), tmp_path / "keys"
    await writer.write(key, 1)
    async with ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic, snapshot=file) as keys:
        await keys.ready(_TIMEOUT)
    async with ProjectKeys(
        bootstrap_servers=f"127.0.0.1:{free_port()}",
        topic=topic,
        snapshot=file,
        snapshot_max_age=0.0,
        serve_outdated_snapshot=serves,
    ) as keys:
        async with asyncio.timeout(_TIMEOUT):
            while keys.problem is None:
                await asyncio.sleep(0.01)
        assert keys.is_complete == serves
        assert not serves or keys.version(key) == 1


def test_the_members_of_later_releases_are_decoded_and_optional() -> None:
    """An event without them is valid; one with a wrong type is malformed."""
    key = new_key_half()
    former = json.loads(records_of(key, 1)[0].value or b"")
    for name in ADDED_MEMBERS:
        del former[name]
    old = decode_state(json.dumps(former).encode())
    assert (old.key_id, old.expires_at) == (None, None)
    value = records_of(key, 1, keyId=5, expiresAt="2026-12-01T00:00:00Z")[0].value or b""
    new = decode_state(value)
    assert (new.key_id, new.expires_at) == (5, datetime(2026, 12, 1, tzinfo=UTC))
    for wrong in ({"keyId": "5"}, {"keyId": True}, {"expiresAt": 5}, {"expiresAt": "2026-12-01"}):
        with pytest.raises(MalformedRecordError):
            parse_record(records_of(key, 1, **wrong)[0])
