"""E7: three brokers with every partition on each of them: they are killed one at a time, then two at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final
from uuid import uuid4

from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from projectkeys_servers.kafka import EmbeddedKafka
from testkit.cluster import EmbeddedKafkaCluster

_DELAY_BOUND: Final = 15.0
_PUBLISHED_BOUND: Final = 60.0
_OUTAGE: Final = 60.0
"""Seconds without two of three brokers."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Without one broker events are delayed; without two no event is acknowledged, and none is lost."""
    async with (
        _cluster(servers) as cluster,
        new_experiment(replace(servers, bootstrap_servers=cluster.bootstrap_servers), plan) as experiment,
    ):
        async with experiment.under_load():
            for number in range(plan.rounds):
                victims = cluster.brokers[:1] if plan.short else cluster.brokers
                for node, broker in enumerate(victims, 1):
                    experiment.report_round(number, f"broker {node}")
                    await _kill_one(experiment, broker)
                if not plan.short:
                    await _kill_two(experiment, cluster.brokers)
        experiment.expect_no_failures()
        return await experiment.check(duplicates=plan.rounds * 6 * BATCH)


@asynccontextmanager
async def _cluster(servers: SharedServers) -> AsyncIterator[EmbeddedKafkaCluster]:
    directory = servers.directory / f"cluster-{uuid4().hex}"
    cluster = EmbeddedKafkaCluster(directory, cache_dir=servers.cache_dir, report=servers.report)
    await cluster.start()
    try:
        yield cluster
    finally:
        cluster.kill()


async def _kill_one(experiment: Experiment, broker: EmbeddedKafka) -> None:
    broker.kill()
    killed_at = time.monotonic()
    await experiment.load.wait_for_acknowledged(50)
    # Everything committed so far must be published without this broker.
    await experiment.wait_until_published()
    seconds = time.monotonic() - killed_at
    experiment.expect_within(seconds, _DELAY_BOUND, "an event without one of three brokers")
    experiment.metrics["delay without one"] = f"{seconds:.1f} s"
    await broker.start()
    await experiment.load.wait_for_acknowledged(50)
    seconds = await experiment.wait_until_published()
    experiment.expect_within(seconds, _PUBLISHED_BOUND, "publishing with three brokers")


async def _kill_two(experiment: Experiment, brokers: list[EmbeddedKafka]) -> None:
    victims = experiment.rng.sample(brokers, 2)
    for broker in victims:
        broker.kill()
    await asyncio.sleep(_OUTAGE)
    pending = int(await experiment.deployment.fetch_value("SELECT count(*) FROM outbox"))
    experiment.metrics["pending without two"] = str(pending)
    experiment.expect(pending > 0, "events were acknowledged by one broker alone")
    await asyncio.gather(*(broker.start() for broker in victims))
    seconds = await experiment.wait_until_published()
    experiment.expect_within(seconds, _PUBLISHED_BOUND, "publishing after the return of two brokers")
    experiment.metrics["published after"] = f"{seconds:.1f} s"
