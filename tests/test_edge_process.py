"""The edge as a process: its start with and without Kafka, and its end."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from projectkeys_consumer.snapshot import read_snapshot, write_snapshot
from projectkeys_servers.kafka import EmbeddedKafka
from projectkeys_servers.ports import free_port
from service.domain.model import new_key_half
from testkit.http_client import HttpConnection
from testkit.polling import poll_until
from testkit.replica import Replica
from tests.edge_site import SigningRelay, open_edge
from tests.kafka_harness import new_topic
from tests.topic_writer import topic_writer

_RECONNECT_TIMEOUT = 40.0


def _edge_replica(bootstrap: str, topic: str, directory: Path, **settings: str) -> tuple[Replica, int]:
    """Return a process of the edge, not started, and its port."""
    port = free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_TOPIC": topic,
        "EDGE_PORT": str(port),
        "EDGE_TOKEN": "a-token-of-the-edge",
        "DATABASE_URL": "not a URL: the edge does not read it",
        **settings,
    }
    return Replica(environment, directory=directory, command=["edge"]), port


async def _get(port: int, key: str) -> tuple[int, Any]:
    connection = HttpConnection(port)
    try:
        response = await connection.request("GET", f"/keys/{key}", token="a-token-of-the-edge")
    finally:
        connection.close()
    return response.status, response.json()


async def test_the_process_drains_after_sigterm(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    """It responds to every request until SHUTDOWN_DELAY has passed, while readiness fails; then it exits with 0."""
    key = new_key_half()
    async with topic_writer(kafka_bootstrap, topic) as writer:
        await writer.write(key, 1)
    replica, port = _edge_replica(kafka_bootstrap, topic, tmp_path, SHUTDOWN_DELAY="1")
    replica.start()
    try:
        await replica.wait_until_ready()
        assert (await _get(port, key))[0] == 200
        replica.process.signal(signal.SIGTERM)
        await poll_until(lambda: _is_stopping(replica))
        assert (await _get(port, key))[0] == 200
        assert await replica.process.wait_for_exit(timeout=15) == 0
    finally:
        replica.kill()


async def _is_stopping(replica: Replica) -> bool:
    return (await replica.readyz())[1] == {"status": "stopping"}


async def test_a_killed_process_starts_from_its_snapshot_without_kafka(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    """Also from one that is older than the deletions which Kafka keeps."""
    key, file = new_key_half(), tmp_path / "keys"
    async with open_edge(kafka_bootstrap, topic, edge_snapshot=str(file)) as site:
        await site.write(key)
    snapshot = read_snapshot(file)
    assert snapshot is not None
    write_snapshot(file, replace(snapshot, as_of=0.0))
    replica, port = _edge_replica(f"127.0.0.1:{free_port()}", topic, tmp_path, EDGE_SNAPSHOT=str(file))
    replica.start()
    try:
        await replica.wait_until_ready()
        status, state = await _get(port, key)
        assert (status, state["id"]) == (200, key)
        metrics = await replica.metrics()
        assert metrics["edge_table_age_seconds"] > 1e9
        assert (await replica.readyz())[1]["checks"]["kafka"] != "ok"
    finally:
        replica.kill()


async def test_known_keys_are_served_while_kafka_is_unavailable(own_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Unknown keys are pending until it is available again, and then null; the edge remains ready."""
    topic, relay = await new_topic(own_kafka.bootstrap_servers), SigningRelay()
    known, new, unknown = (new_key_half() for _ in range(3))
    async with open_edge(own_kafka.bootstrap_servers, topic, relays=[relay], directory=tmp_path) as site:
        await site.write(known)
        own_kafka.kill()
        for _ in range(3):
            answer = await relay.configs(site, [known, unknown])
            assert (list(answer["configs"]), answer["pending"]) == ([known], [unknown])
        async with site.client.get(f"{site.ops_url}/readyz") as response:
            assert response.status == 200
        await own_kafka.start()
        async with topic_writer(own_kafka.bootstrap_servers, topic) as writer:
            await writer.write(new, 1)

        async def is_decided() -> bool:
            answer = await relay.configs(site, [new, unknown])
            assert answer["configs"].get(new, {}) is not None, "null for a key in the topic"
            return not answer["pending"]

        await poll_until(is_decided, timeout=_RECONNECT_TIMEOUT, interval=0.2)
        assert (await relay.configs(site, [unknown]))["configs"] == {unknown: None}
