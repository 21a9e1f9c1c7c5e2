"""An owner that is stopped with records in flight: after it continues it appends and deletes nothing."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from projectkeys_servers.ports import free_port
from service.domain.events import SHARDS
from service.domain.model import new_key_half
from service.settings import Settings
from testkit.cluster import Listener, configured_kafka
from testkit.polling import poll_until
from tests.conftest import CACHE
from tests.events import header
from tests.kafka_harness import Relay, new_topic, read_log, relay_to
from tests.outbox import Postgres, waiting, write_row
from tests.processes import DeployedReplica, Deployment, deploy, replica

_LEASE = 1.0
_KEYS = 5


@dataclass(frozen=True, slots=True)
class Scene:
    """A replica that owns every shard and reaches Kafka through a relay; others reach it directly."""

    owner: DeployedReplica
    relay: Relay
    deployment: Deployment
    keys: list[str]

    async def log(self) -> list[ConsumerRecord]:
        """Return the records of the keys' partition without control records."""
        topic = self.deployment.settings.kafka_topic
        records = await read_log(self.deployment.bootstrap, topic, 0)
        return [record for record in records if not record.key.startswith(b"_")]

    async def write(self, postgres: Postgres, version: int) -> None:
        """Write a version of each key, in order, to shard 0."""
        for key in self.keys:
            await write_row(postgres, key=key, version=version)


@asynccontextmanager
async def _through_relay(settings: Settings, directory: Path) -> AsyncIterator[Scene]:
    port = free_port()
    async with (
        relay_to(f"127.0.0.1:{port}") as relay,
        configured_kafka(directory, cache_dir=CACHE, listeners=[Listener("RELAYED", port, relay.port)]) as kafka,
    ):
        topic = await new_topic(kafka.bootstrap_servers)
        direct = replace(
            settings,
            kafka_bootstrap_servers=(kafka.bootstrap_servers,),
            kafka_topic=topic,
            shard_lease=_LEASE,
        )
        deployment = await deploy(direct)
        relayed = {"KAFKA_BOOTSTRAP_SERVERS": relay.address}
        async with replica(deployment, directory, "publish", **relayed) as owner:
            await poll_until(lambda: _is_open(owner))
            yield Scene(owner, relay, deployment, [new_key_half() for _ in range(_KEYS)])


async def _is_open(owner: DeployedReplica) -> bool:
    _, body = await owner.readyz()
    return await owner.owns(SHARDS) and body["checks"]["kafka"] == "ok"


@pytest.fixture
async def scene(settings: Settings, tmp_path: Path) -> AsyncIterator[Scene]:
    """A running owner."""
    async with _through_relay(settings, tmp_path) as made:
        yield made


async def _is_outbox_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


async def test_records_of_a_stopped_owner_are_rejected_by_the_broker(
    scene: Scene, postgres: Postgres, tmp_path: Path
) -> None:
    """Its request arrives when newer versions are in the log: neither it nor any queued row is appended."""
    await scene.write(postgres, 1)
    await poll_until(lambda: _is_outbox_empty(postgres))
    scene.relay.to_server.clear()
    await scene.write(postgres, 2)
    await poll_until(lambda: scene.keys[0].encode() in b"".join(scene.relay.held))
    scene.owner.process.signal(signal.SIGSTOP)
    async with replica(scene.deployment, tmp_path, "publish") as successor:
        await poll_until(lambda: successor.owns(SHARDS), timeout=_LEASE + 5)
        await scene.write(postgres, 3)
        await poll_until(lambda: _is_outbox_empty(postgres))
        scene.relay.to_server.set()
        await poll_until(lambda: not scene.relay.held)
        scene.owner.process.signal(signal.SIGCONT)
        await poll_until(lambda: "shards_lost" in scene.owner.process.errors)
        await poll_until(lambda: scene.owner.owns(SHARDS // 2), timeout=10)
        await scene.write(postgres, 4)
        await poll_until(lambda: _is_outbox_empty(postgres))
    published = await scene.log()
    for key in scene.keys:
        versions = [header(record, "ce_keyversion") for record in published if record.key.decode() == key]
        assert versions == ["1", "2", "3", "4"], "each once, in order"


async def test_an_acknowledgement_after_the_lease_deletes_no_row(scene: Scene, postgres: Postgres) -> None:
    """The new owner may not have read the rows yet; it sends and deletes them."""
    await scene.write(postgres, 1)
    await poll_until(lambda: _is_outbox_empty(postgres))
    scene.relay.to_client.clear()
    await scene.write(postgres, 2)
    await poll_until(lambda: _has(scene, 2 * _KEYS))
    scene.owner.process.signal(signal.SIGSTOP)
    await postgres.execute(
        "UPDATE outbox_shard SET owner = 'other', epoch = epoch + 1,"
        " lease_until = clock_timestamp() + interval '1 minute' WHERE shard = 0"
    )
    scene.relay.to_client.set()
    scene.owner.process.signal(signal.SIGCONT)
    await poll_until(lambda: scene.owner.owns(SHARDS - 1), timeout=10)
    other = await write_row(postgres, shard=1)
    await poll_until(partial(_is_deleted, postgres, other.seq))
    rows = await postgres.fetch("SELECT aggregateid FROM outbox ORDER BY seq")
    assert [row[0] for row in rows] == scene.keys


async def _has(scene: Scene, number: int) -> bool:
    return len(await scene.log()) >= number


async def _is_deleted(postgres: Postgres, seq: int) -> bool:
    return not await postgres.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE seq = $1)", seq)
