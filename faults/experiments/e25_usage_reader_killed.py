"""E25: the process that counts outcomes is killed by SIGKILL at a random time, repeatedly, while outcomes arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaProducer

from faults.errors import NotRecoveredError
from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Action
from faults.shared_servers import SharedServers
from service.kafka.client import KafkaClient
from service.kafka.config import KafkaConnection
from testkit.http_client import HttpConnection, request
from testkit.polling import poll_until
from testkit.replica import Replica, ReplicaError

_PARTITIONS: Final = 3
_PACKET: Final = 300
"""Outcomes sent at a time, some thousand a second."""

_PAUSE: Final = 0.05
_COUNTED_BOUND: Final = 10.0
_UNKNOWN_KEY: Final = 10**15


@dataclass(slots=True)
class _Sender:
    """Sends outcomes of one key, each tenth of a key that does not exist; counts what Kafka acknowledged."""

    experiment: Experiment
    topic: str
    key_id: int
    known: int = 0
    unknown: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send during the block; it ends when everything is acknowledged."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.experiment.servers.bootstrap_servers, enable_idempotence=True
        )
        await producer.start()
        stopped = asyncio.Event()
        task = asyncio.create_task(self._send_until(stopped, producer))
        try:
            yield
        finally:
            stopped.set()
            await task
            await producer.stop()

    async def _send_until(self, stopped: asyncio.Event, producer: AIOKafkaProducer) -> None:
        while not stopped.is_set():
            sent = []
            for number in range(_PACKET):
                quantity = self.experiment.rng.randrange(1, 5)
                key_id = self.key_id if number % 10 else _UNKNOWN_KEY
                self.known += quantity * (key_id == self.key_id)
                self.unknown += quantity * (key_id != self.key_id)
                members = {"outcome": number % 3, "category": 1, "quantity": quantity, "key_id": key_id}
                value = orjson.dumps({"timestamp": datetime.now(UTC).isoformat(), **members})
                sent.append(await producer.send(self.topic, value))
            await asyncio.gather(*sent)
            await asyncio.sleep(_PAUSE)


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Statistics contain every outcome once; the other replica continues within its lease."""
    topic = f"outcomes-{uuid4().hex}"
    await _create_topic(servers, topic)
    async with new_experiment(servers, plan, USAGE="true", OUTCOMES_TOPIC=topic) as experiment:
        public_key, key_id = await _create_key(experiment)
        sender = _Sender(experiment, topic, key_id)
        async with experiment.under_load(), sender.running():
            for number in range(plan.rounds):
                experiment.report_round(number, f"{sender.known + sender.unknown} outcomes sent")
                await _kill_reader(experiment)
        seconds = await _wait_until_counted(experiment, sender)
        experiment.expect_within(seconds, _COUNTED_BOUND, "counting the rest")
        await _compare(experiment, sender, public_key)
        experiment.metrics["outcomes counted"] = f"{sender.known + sender.unknown:,}"
        return await experiment.check(duplicates=plan.rounds * 400)


async def _create_topic(servers: SharedServers, topic: str) -> None:
    client = KafkaClient(KafkaConnection(tuple(servers.bootstrap_servers.split(","))), request_timeout=30)
    try:
        await client.create_topic(topic, partitions=_PARTITIONS, replication_factor=1, config={})
    finally:
        await client.close()


async def _create_key(experiment: Experiment) -> tuple[str, int]:
    """Create a key that the load does not change; return its public key and its row id."""
    connection = HttpConnection(experiment.replicas[0].port)
    tenant = experiment.deployment.tenants[0]
    call = await experiment.load.call([connection], Action.CREATE, tenant, label=f"{experiment.plan.seed}-used")
    connection.close()
    assert call.key, "nothing fails before the first fault"
    query = f"SELECT id FROM project_key WHERE public_key = '{call.key}'"  # noqa: S608 -- a hexadecimal number
    return call.key, await experiment.deployment.fetch_value(query)


async def _kill_reader(experiment: Experiment) -> None:
    reader: list[Replica] = []

    async def found() -> bool:
        for replica in experiment.replicas:
            try:
                if (await replica.metrics()).get("usage_reading"):
                    reader.append(replica)
            except ReplicaError:
                continue
        return bool(reader)

    await poll_until(found, timeout=30, error=lambda: NotRecoveredError("no replica reads the outcomes after 30 s"))
    await asyncio.sleep(experiment.rng.uniform(0, 1.5))
    reader[0].kill()
    reader[0].start()
    await reader[0].wait_until_ready()


async def _wait_until_counted(experiment: Experiment, sender: _Sender) -> float:
    """Wait until all outcomes are counted; return the seconds. More than all fails in `_compare`."""
    loop = asyncio.get_running_loop()
    began, expected = loop.time(), sender.known + sender.unknown

    async def counted() -> bool:
        total = await experiment.deployment.fetch_value("SELECT sum(quantity) FROM key_usage")
        return total is not None and int(total) >= expected

    await poll_until(
        counted, timeout=60, interval=0.1, error=lambda: NotRecoveredError("outcomes were lost: 60 s passed")
    )
    return loop.time() - began


async def _compare(experiment: Experiment, sender: _Sender, public_key: str) -> None:
    """Compare the statistics of the API, and the quantity of unknown keys, with what was sent."""
    path = f"{experiment.deployment.tenants[0].keys_path}{public_key}/stats/?resolution=1h"
    response = await request(experiment.replicas[0].port, "GET", path, token=experiment.deployment.token)
    total = sum(bucket["total"] for bucket in response.json())
    experiment.expect(total == sender.known, f"the statistics contain {total} of {sender.known} outcomes")
    unknown = await experiment.deployment.fetch_value("SELECT sum(quantity) FROM key_usage WHERE key_id = 0")
    experiment.expect(unknown == sender.unknown, f"{unknown} of {sender.unknown} outcomes of an unknown key")
