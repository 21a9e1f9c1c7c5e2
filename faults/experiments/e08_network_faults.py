"""E8: connections to Postgres and to Kafka are blocked, blocked one way, refused, reset, and flap."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from uuid import uuid4

from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from projectkeys_servers.ports import free_port
from testkit.cluster import Listener, configured_kafka
from testkit.proxy import Proxy, proxy

_RECOVERY_BOUND: Final = 30.0
_CALL_BOUND: Final = 12.0
_POOL_SIZE: Final = 10
_LISTENERS: Final = 1
"""Connections of a replica that listen for notifications."""

Fault = Callable[[Proxy], Awaitable[None]]


async def _blocked(link: Proxy) -> None:
    link.block()


async def _responses_blocked(link: Proxy) -> None:
    link.block(to_server=False)


async def _refused(link: Proxy) -> None:
    await link.refuse_connections()


async def _reset(link: Proxy) -> None:
    link.reset_connections()


_FAULTS: Final[tuple[Fault, ...]] = (_blocked, _responses_blocked, _refused, _reset)


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Without Postgres clients get 503, without Kafka they notice nothing; both recover within seconds."""
    kafka_port, proxy_port = free_port(), free_port()
    # The broker advertises the proxy to clients that connect through it.
    listener = Listener("PROXIED", kafka_port, proxy_port)
    directory = servers.directory / f"kafka-{uuid4().hex}"
    async with (
        proxy(servers.postgres_port) as to_postgres,
        configured_kafka(
            directory, cache_dir=servers.cache_dir, report=servers.report, listeners=[listener]
        ) as kafka,
        proxy(kafka_port, port=proxy_port) as to_kafka,
        new_experiment(
            replace(servers, bootstrap_servers=kafka.bootstrap_servers),
            plan,
            postgres_proxy=to_postgres,
            KAFKA_BOOTSTRAP_SERVERS=to_kafka.address,
        ) as experiment,
    ):
        async with experiment.under_load():
            for number in range(plan.rounds):
                experiment.report_round(number)
                for fault in _FAULTS[:1] if plan.short else _FAULTS:
                    await _disturb_postgres(experiment, to_postgres, fault)
                    await _disturb_kafka(experiment, to_kafka, fault)
                for link in () if plan.short else (to_postgres, to_kafka):
                    await _flap(experiment, link)
        experiment.expect_only_503()
        longest = experiment.load.longest_call()
        experiment.expect_within(longest, _CALL_BOUND, "a request")
        experiment.metrics["longest request"] = f"{longest:.1f} s"
        return await experiment.check(duplicates=plan.rounds * 20 * BATCH)


async def _apply(experiment: Experiment, link: Proxy, fault: Fault) -> None:
    await fault(link)
    await asyncio.sleep(1.5 if experiment.plan.short else experiment.rng.uniform(5, 15))


async def _disturb_postgres(experiment: Experiment, link: Proxy, fault: Fault) -> None:
    experiment.report(f"Postgres: {fault.__name__}")
    await _apply(experiment, link, fault)
    bound = len(experiment.replicas) * (_POOL_SIZE + _LISTENERS) + 2 * _POOL_SIZE
    experiment.expect(link.connections <= bound, f"{link.connections} connections to Postgres at once")
    await link.listen()
    link.unblock()
    await _wait_for_recovery(experiment, fault.__name__.strip("_"))


async def _disturb_kafka(experiment: Experiment, link: Proxy, fault: Fault) -> None:
    experiment.report(f"Kafka: {fault.__name__}")
    began = time.monotonic()
    await _apply(experiment, link, fault)
    failed = experiment.load.failed_since(began)
    experiment.expect(not failed, f"{len(failed)} requests failed without Kafka: {failed[:2]}")
    await link.listen()
    link.unblock()
    seconds = await experiment.wait_until_published()
    experiment.expect_within(seconds, _RECOVERY_BOUND, f"publishing after {fault.__name__}")
    _record_maximum(experiment, "published", seconds)


async def _flap(experiment: Experiment, link: Proxy) -> None:
    """Interrupt the link for every other second of a minute."""
    for _ in range(30):
        link.block()
        await asyncio.sleep(1)
        link.unblock()
        link.reset_connections()
        await asyncio.sleep(1)
    await _wait_for_recovery(experiment, "flapping")


async def _wait_for_recovery(experiment: Experiment, fault: str) -> None:
    seconds = await experiment.load.wait_for_acknowledged(30, timeout=60)
    experiment.expect_within(seconds, _RECOVERY_BOUND, f"30 successes after {fault}")
    _record_maximum(experiment, "recovered", seconds)
    await experiment.wait_until_published()
    await experiment.wait_until_balanced()


def _record_maximum(experiment: Experiment, name: str, seconds: float) -> None:
    previous = float(experiment.metrics.get(name, "0 s").split()[0])
    experiment.metrics[name] = f"{max(seconds, previous):.1f} s"
