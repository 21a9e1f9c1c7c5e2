"""Records that hold no state of a key: the tombstone after a deletion, and control records."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiokafka import ConsumerRecord

from projectkeys_consumer import ProjectKeys
from service.app import Service, build, publishing
from service.domain.events import SHARDS, shard_of
from service.settings import Settings
from testkit.polling import poll_until
from tests.conftest import MakeApi
from tests.events import header
from tests.kafka_harness import read_log


@pytest.fixture
async def heartbeat_service(settings: Settings, topic: str) -> AsyncIterator[Service]:
    """The service with its publisher and five heartbeats per second."""
    joined = build(replace(settings, kafka_topic=topic, heartbeat_interval=0.2))
    async with publishing(joined):
        yield joined


async def _log(service: Service, partition: int) -> list[ConsumerRecord]:
    bootstrap = service.settings.kafka_bootstrap_servers[0]
    return await read_log(bootstrap, service.settings.kafka_topic, partition)


async def test_a_deletion_is_the_last_state_and_a_tombstone_after_it(
    publishing_service: Service, make_api: MakeApi
) -> None:
    """Both are in the key's partition with the same version, which the tombstone has in a header."""
    api = await make_api(publishing_service)
    created = await (await api.create({"name": "Short-lived"})).json()
    key = created["id"]
    deleted = await api.request("DELETE", f"{api.keys_path}{key}/", headers={"Prefer": "wait=10"})
    assert (deleted.status, deleted.headers["Event-Status"]) == (204, "published")
    log = [record for record in await _log(publishing_service, shard_of(key)) if record.key == key.encode()]
    first, last, tombstone = log
    assert [header(record, "ce_type") for record in log] == [
        "projectkey.created",
        "projectkey.deleted",
        "projectkey.deleted",
    ]
    before, state = orjson.loads(first.value), orjson.loads(last.value)
    assert state == {**before, "version": 2}, "consumers that store no keys receive the last state"
    assert tombstone.value is None
    assert [header(record, "ce_keyversion") for record in log] == ["1", "2", "2"]
    assert header(last, "ce_id") == deleted.headers["Event-Id"]
    assert header(tombstone, "ce_id") not in {header(first, "ce_id"), header(last, "ce_id"), ""}
    names = {name for name, _ in tombstone.headers}
    assert names == {name for name, _ in last.headers} - {"ce_dataschema", "content-type"}


async def test_a_deleted_project_leaves_a_tombstone_of_each_key(
    publishing_service: Service, make_api: MakeApi
) -> None:
    """The deletion of a project deletes all of its keys."""
    api = await make_api(publishing_service)
    keys = [(await (await api.create({})).json())["id"] for _ in range(5)]
    project = api.keys_path.removesuffix("keys/")
    assert (await api.request("DELETE", project)).status in {202, 204}
    await poll_until(lambda: _are_tombstoned(publishing_service, keys))


async def _are_tombstoned(service: Service, keys: list[str]) -> bool:
    for key in keys:
        log = [record for record in await _log(service, shard_of(key)) if record.key == key.encode()]
        if not log or log[-1].value is not None:
            return False
    return True


async def test_heartbeats_are_sent_to_every_partition(heartbeat_service: Service) -> None:
    """Periodically, as CloudEvents of a type that consumers ignore, each with its time."""
    await poll_until(lambda: _have_heartbeats(heartbeat_service, 2))
    heartbeat = [record for record in await _log(heartbeat_service, 5) if record.key == b"_heartbeat"][-1]
    assert header(heartbeat, "ce_type") == "projectkeys.heartbeat"
    sent_at = datetime.fromisoformat(orjson.loads(heartbeat.value)["time"])
    assert timedelta() <= datetime.now(UTC) - sent_at < timedelta(minutes=1)
    settings = heartbeat_service.settings
    async with ProjectKeys(bootstrap_servers=settings.kafka_bootstrap_servers[0], topic=settings.kafka_topic) as keys:
        await keys.ready(10.0)
        assert len(keys) == 0
        await poll_until(lambda: (keys.lag().idle_seconds or 99) < 1)


async def _have_heartbeats(service: Service, times: int) -> bool:
    for shard in range(SHARDS):
        log = await _log(service, shard)
        if [record.key for record in log].count(b"_heartbeat") < times:
            return False
    return True


async def test_heartbeats_are_disabled_by_default(publishing_service: Service, make_api: MakeApi) -> None:
    """The topic contains only fences and events."""
    api = await make_api(publishing_service)
    key = (await (await api.create({})).json())["id"]
    await poll_until(lambda: _is_there(publishing_service, key))
    seen = {record.key for shard in range(SHARDS) for record in await _log(publishing_service, shard)}
    assert seen == {b"_fence", key.encode()}


async def _is_there(service: Service, key: str) -> bool:
    return any(record.key == key.encode() for record in await _log(service, shard_of(key)))
