"""A record that Kafka rejects for good blocks its own key only, until an operator retries or discards it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import ConsumerRecord

from service.domain.model import new_key_half
from service.settings import Settings
from testkit.polling import poll_until
from tests.events import header, reading
from tests.kafka_harness import configure, delete_topic, new_topic
from tests.outbox import Postgres, waiting, write_row
from tests.processes import DeployedReplica, Deployment, deploy, replica, running

_SMALL: Final = {"cleanup.policy": "compact", "max.message.bytes": "4000"}
_ENDS_WITHIN: Final = 20.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A replica on a topic that accepts small records only, and a key whose second version is a large one."""

    replica: DeployedReplica
    deployment: Deployment
    directory: Path
    key: str
    neighbour: str

    async def command(self, *words: str) -> tuple[int | None, str]:
        """Run `projectkeys events parked …` as an operator; return its exit code and output."""
        async with running(
            "events", "parked", *words, environment=self.deployment.environment, directory=self.directory
        ) as process:
            code = await process.wait_for_exit(timeout=_ENDS_WITHIN)
            assert "Traceback" not in process.errors
            return code, process.output + process.errors

    async def parked(self) -> list[dict[str, Any]]:
        """Return the parked rows."""
        code, output = await self.command("list", "--json")
        assert code == 0, output
        return [json.loads(line) for line in output.splitlines()]

    async def published(self, number: int) -> list[ConsumerRecord]:
        """Return the first ``number`` events of the topic."""
        async with reading(self.deployment.bootstrap, self.deployment.settings.kafka_topic) as reader:
            return await reader.count(number)

    async def has_parked(self, attempts: int) -> bool:
        """Whether the key was rejected this many times."""
        return self.replica.process.errors.count('"key_parked"') == attempts


async def _large(postgres: Postgres) -> str:
    """Return the state of a key that is larger than the topic accepts."""
    [(organization, project)] = await postgres.fetch("SELECT organization_id, id FROM project")
    return json.dumps({"organizationId": organization, "projectId": project, "name": "x" * 8000})


@pytest.fixture
async def scene(settings: Settings, kafka_bootstrap: str, postgres: Postgres, tmp_path: Path) -> AsyncIterator[Scene]:
    """The large version is parked and blocks the third one; both versions of the other key are published."""
    topic = await new_topic(kafka_bootstrap, config=_SMALL)
    deployment = await deploy(replace(settings, kafka_topic=topic))
    async with replica(deployment, tmp_path, "publish") as publisher:
        scene = Scene(publisher, deployment, tmp_path, new_key_half(), new_key_half())
        await write_row(postgres, key=scene.neighbour, version=2)
        await write_row(postgres, key=scene.key, version=2, payload=await _large(postgres))
        await write_row(postgres, key=scene.key, version=3)
        await write_row(postgres, key=scene.neighbour, version=3)
        await poll_until(lambda: scene.has_parked(1))
        await poll_until(partial(_outbox_has, postgres, 2))
        yield scene


async def _outbox_has(postgres: Postgres, number: int) -> bool:
    return await waiting(postgres) == number


def _versions(records: list[ConsumerRecord], key: str) -> list[str]:
    return [header(record, "ce_keyversion") for record in records if record.key.decode() == key]


async def test_only_the_key_of_a_rejected_record_is_blocked(scene: Scene) -> None:
    """Another key of the same shard is published; metrics, list and log report the blocked one and the reason."""
    published = await scene.published(2)
    assert (_versions(published, scene.key), _versions(published, scene.neighbour)) == ([], ["2", "3"])
    [parked] = await scene.parked()
    expected = {"key": scene.key, "shard": 0, "version": 2, "attempts": 1}
    assert expected.items() <= parked.items()
    assert parked["type"] == "projectkey.created"
    assert "MessageSizeTooLarge" in parked["reason"]
    code, output = await scene.command("list")
    assert code == 0
    assert scene.key in output
    assert await scene.replica.metric("outbox_parked") == 1
    assert await scene.replica.metric("outbox_depth") == 0, "rows that a parked one blocks are not in the backlog"
    assert await scene.replica.metric("outbox_oldest_age_seconds") == 0
    assert await scene.replica.metric('rows_parked_total{reason="too_large"}') == 1


async def test_a_retry_publishes_all_rows_of_the_key_once_kafka_accepts_them(
    scene: Scene, postgres: Postgres
) -> None:
    """Without a change it is parked again; with a larger limit both versions are published."""
    assert await scene.command("retry", scene.key) == (0, "Events to be published again: 1.\n")
    await poll_until(lambda: scene.has_parked(2))
    [parked] = await scene.parked()
    assert parked["attempts"] == 2
    settings = scene.deployment.settings
    await configure(scene.deployment.bootstrap, settings.kafka_topic, {"cleanup.policy": "compact"})
    assert await scene.command("retry", "--all") == (0, "Events to be published again: 1.\n")
    await poll_until(partial(_outbox_has, postgres, 0))
    assert _versions(await scene.published(4), scene.key) == ["2", "3"]
    assert await scene.parked() == []
    assert await scene.replica.metric("outbox_parked") == 0


async def test_a_discard_reports_what_is_lost(scene: Scene, postgres: Postgres) -> None:
    """Without --yes nothing is deleted; with it the next version is published and the audit has an entry."""
    code, output = await scene.command("discard", scene.key)
    assert code == 1
    assert f"Consumers never receive version 2 of {scene.key} (projectkey.created)." in output
    assert "the later events of the key that it blocks: 1" in output
    assert len(await scene.parked()) == 1
    code, output = await scene.command("discard", scene.key, "--yes")
    assert code == 0, output
    await poll_until(partial(_outbox_has, postgres, 0))
    assert _versions(await scene.published(3), scene.key) == ["3"]
    entries = await postgres.fetch("SELECT action, target FROM audit_entry WHERE action LIKE 'event.%'")
    assert [tuple(entry) for entry in entries] == [("event.discard", scene.key)]
    for words in (("discard", scene.key, "--yes"), ("retry", scene.key)):
        code, output = await scene.command(*words)
        assert (code, output) == (1, f"projectkeys: no event of the key {scene.key} is parked\n")


async def test_a_record_that_kafka_may_accept_later_is_retried_and_not_parked(
    settings: Settings, kafka_bootstrap: str, topic: str, postgres: Postgres, tmp_path: Path
) -> None:
    """The topic is deleted while the publisher runs; its rows are published when it exists again."""
    deployment = await deploy(replace(settings, kafka_topic=topic))
    async with replica(deployment, tmp_path, "publish") as publisher:
        await write_row(postgres)
        await poll_until(partial(_outbox_has, postgres, 0))
        await delete_topic(kafka_bootstrap, topic)
        row = await write_row(postgres)
        await poll_until(lambda: _has_failed(publisher, f"there is no topic {topic}"))
        assert await publisher.metric("outbox_parked") == 0
        assert await publisher.metric("outbox_depth") == 1
        await new_topic(kafka_bootstrap, name=topic)
        await poll_until(partial(_outbox_has, postgres, 0))
    async with reading(kafka_bootstrap, topic) as reader:
        [published] = await reader.count(1)
    assert header(published, "ce_id") == str(row.event.id)


async def _has_failed(publisher: DeployedReplica, why: str) -> bool:
    return publisher.process.errors.count(why) > 1
