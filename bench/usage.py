"""The rate at which the service counts outcomes, while it also creates keys."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg
import orjson
from aiokafka import AIOKafkaProducer

from bench.closed_loop import Plan, run_load
from bench.databases import connected, create_database
from bench.deployment import migrate_and_create_token, replica, settings_for
from bench.measurements import Metrics
from bench.programs import BenchError
from bench.report import Goal, Row
from bench.requests import create_requests
from bench.setup import Setup
from service.kafka.client import KafkaClient
from service.kafka.config import KafkaConnection
from testkit.polling import poll_until

OUTCOMES: Final = 100_000
_PARTITIONS: Final = 3
_CONNECTIONS: Final = 8
"""Clients of the API: they use a part of the processor, and the reader another."""

_COUNT_TIMEOUT: Final = 120.0

_RESERVE: Final = "UPDATE usage_reader SET owner = 'bench', lease_until = clock_timestamp() + interval '4 minutes'"
_RELEASE: Final = "UPDATE usage_reader SET owner = NULL"
_COUNTED: Final = "SELECT coalesce(sum(quantity), 0)::bigint FROM key_usage"


async def measure(setup: Setup, seconds: int) -> Metrics:
    """Count outcomes that are in the topic, with load on the API for ``seconds``, in a service of its own."""
    name = f"usage-{time.monotonic_ns()}"
    bootstrap = setup.servers.kafka.bootstrap_servers
    url = await create_database(setup.servers.postgres, name.replace("-", "_"))
    settings = {**settings_for(url, bootstrap, name), "USAGE": "true", "OUTCOMES_TOPIC": f"{name}-outcomes"}
    token = await migrate_and_create_token(settings)
    with TemporaryDirectory() as directory:
        async with connected(url) as postgres:
            await postgres.execute(_RESERVE)
            async with replica(settings, token, Path(directory)) as service:
                requests = await create_requests(service)
                ids = [row["id"] for row in await postgres.fetch("SELECT id FROM project_key")]
                await _send_outcomes(bootstrap, settings["OUTCOMES_TOPIC"], ids)
                await service.wait_until_published()
                plan = Plan(service.port, [requests.create], 201, _CONNECTIONS, seconds)
                load, rate = await asyncio.gather(run_load(plan), _counting_rate(postgres))
    return {"rate": rate, "requests": load.responses / load.seconds, "p99": load.p99 * 1000}


async def _send_outcomes(bootstrap: str, topic: str, ids: Sequence[int]) -> None:
    client = KafkaClient(KafkaConnection((bootstrap,)), request_timeout=30)
    try:
        await client.create_topic(topic, partitions=_PARTITIONS, replication_factor=1, config={})
    finally:
        await client.close()
    now = datetime.now(UTC).isoformat()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20)
    await producer.start()
    try:
        for number in range(OUTCOMES):
            key = {"timestamp": now, "org_id": 1, "project_id": 1, "key_id": ids[number % len(ids)]}
            value = {**key, "outcome": number % 3, "reason": None, "category": 1, "quantity": 1}
            await producer.send(topic, orjson.dumps(value))
        await producer.flush()
    finally:
        await producer.stop()


async def _counting_rate(postgres: "asyncpg.Connection[asyncpg.Record]") -> float:
    """Let the reader begin; return the rate from its first transaction to its last one."""
    await postgres.execute(_RELEASE)
    samples: list[tuple[float, int]] = []

    async def is_done() -> bool:
        counted = await postgres.fetchval(_COUNTED)
        if counted and not samples:
            samples.append((time.perf_counter(), counted))
        return bool(counted == OUTCOMES)

    await poll_until(
        is_done,
        timeout=_COUNT_TIMEOUT,
        interval=0.02,
        error=lambda: BenchError(f"the outcomes are not counted after {_COUNT_TIMEOUT:.0f} s"),
    )
    [(began, first)] = samples
    return (OUTCOMES - first) / (time.perf_counter() - began)


def rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    """Return the rows of the table."""
    found = [metrics for (metrics,) in rounds]
    return [
        Row("outcomes counted per second", [metrics["rate"] for metrics in found], goal=Goal(5_000)),
        Row("  creates beside it, per second", [metrics["requests"] for metrics in found]),
        Row("  their p99, ms", [metrics["p99"] for metrics in found]),
    ]
