"""Events across an upgrade from release 0.1.0, which publishes no numbers of keys."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson
import pytest

from service.app import Service, build, publishing
from service.domain.events import ADDED_MEMBERS, EventType, shard_of
from service.domain.model import NewProjectKey, new_key_half
from service.settings import Settings
from testkit.commits import RELEASE_0_1_0, extract_commit
from testkit.polling import poll_until
from tests.commands import run
from tests.conftest import ORIGIN, make_project
from tests.edge_site import EdgeSite, SigningRelay, open_edge
from tests.outbox import Postgres
from tests.topic_writer import TopicWriter, records_of, topic_writer

_READER: Final = """
import asyncio, sys
from service.consumer import ProjectKeys

async def main(bootstrap, topic, *keys):
    async with ProjectKeys(bootstrap_servers=bootstrap, topic=topic) as reader:
        await reader.ready(20)
        for state in map(reader.get, keys):
            print(None if state is None else (state.version, state.is_active, state.project_id))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_kit_of_the_previous_release_reads_the_new_events(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    """Members that it does not know, deletions, and records that are not about keys."""
    key, deleted = new_key_half(), new_key_half()
    async with topic_writer(kafka_bootstrap, topic) as writer:
        await writer.write(key, 1, EventType.CREATED, keyId=17, expiresAt="2026-11-24T04:54:16.722436Z")
        await writer.write(key, 2, keyId=17, expiresAt=None, isActive=False, projectId=3)
        await writer.write(deleted, 1, EventType.CREATED, keyId=18)
        await writer.write(deleted, 2, EventType.DELETED, keyId=18)
        await writer.write_control_records()
    extract_commit(RELEASE_0_1_0, tmp_path, "service")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _READER, kafka_bootstrap, topic, key, deleted),
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    assert output.decode().splitlines() == ["(2, False, 3)", "None"]


async def _create_with_former_event(service: Service, postgres: Postgres, writer: TopicWriter) -> str:
    """Create a key whose only event has the form of the previous release; return its public key."""
    created = await service.use_cases.create_key.execute(NewProjectKey(), await make_project(service), ORIGIN)
    key = created.key.public_key
    payload = await postgres.fetchval("DELETE FROM outbox WHERE aggregateid = $1 RETURNING payload", key)
    state = {name: value for name, value in orjson.loads(payload).items() if name not in ADDED_MEMBERS}
    [record] = records_of(key, 1, EventType.CREATED)
    await writer.append([replace(record, value=orjson.dumps(state))], shard_of(key))
    return key


async def test_a_running_edge_gets_the_numbers_of_keys_by_the_last_step_of_the_upgrade(
    settings: Settings,
    service: Service,
    postgres: Postgres,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has run since before the upgrade and ignores versions that it holds."""
    [bootstrap], relay = settings.kafka_bootstrap_servers, SigningRelay()
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    monkeypatch.setenv("KAFKA_TOPIC", topic)
    monkeypatch.setenv("INGEST_URL", settings.ingest_url)
    async with (
        open_edge(bootstrap, topic, relays=[relay], directory=tmp_path) as edge,
        topic_writer(bootstrap, topic) as writer,
    ):
        key = await _create_with_former_event(service, postgres, writer)
        await poll_until(lambda: edge.keys.version(key) == 1, timeout=10)
        assert await _named_keys(relay, edge, key) == [{"publicKey": key}]
        async with publishing(build(replace(settings, kafka_topic=topic))):
            assert await run("events", "reconcile", "--repair") == 0
            await poll_until(lambda: edge.keys.version(key) == 2, timeout=10)
        number = await postgres.fetchval("SELECT id FROM project_key WHERE public_key = $1", key)
        assert await _named_keys(relay, edge, key) == [{"publicKey": key, "numericId": number}]


async def _named_keys(relay: SigningRelay, edge: EdgeSite, key: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await relay.configs(edge, [key]))["configs"][key]["publicKeys"]
    return found
