"""E6: the broker is paused, then killed and started again; a replica is stopped meanwhile."""

import asyncio
import time
from typing import Final

from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from testkit.processes import pause, resume

_PUBLISHED_BOUND: Final = 30.0
_STOP_BOUND: Final = 25.0
_NOISE: Final = 0.1
"""Seconds below which two latencies on a shared machine are not compared."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """No request is affected; the outbox is empty soon afterwards; a stop meanwhile ends in time."""
    async with new_experiment(servers, plan) as experiment:
        slowest = 0.0
        async with experiment.under_load():
            await experiment.load.wait_for_acknowledged(100)
            for number in range(plan.rounds):
                experiment.report_round(number)
                slowest = max(slowest, await _pause_broker(experiment))
                if not plan.short:
                    slowest = max(slowest, await _kill_broker(experiment))
        experiment.metrics["slowest publishing"] = f"{slowest:.1f} s"
        experiment.expect_no_failures()
        return await experiment.check(duplicates=plan.rounds * 4 * BATCH)


async def _pause_broker(experiment: Experiment) -> float:
    pid, load = experiment.servers.kafka.pid, experiment.load
    paused_at = time.monotonic()
    pause(pid)
    try:
        await asyncio.sleep(1.0 if experiment.plan.short else 30.0)
        await _stop_replica(experiment)
        before, during = load.latency(until=paused_at) * 1000, load.latency(since=paused_at) * 1000
    finally:
        resume(pid)
    experiment.metrics["p99 before and during"] = f"{before:.0f} and {during:.0f} ms"
    bound = max(2 * before / 1000, _NOISE)
    experiment.expect_within(during / 1000, bound, f"p99, {before:.0f} ms before,")
    return await _wait_for_recovery(experiment)


async def _stop_replica(experiment: Experiment) -> None:
    """Exclude a replica from the load, as a load balancer does, and restart it; E14 tests without that."""
    victim = experiment.rng.choice(experiment.replicas)
    experiment.load.excluded_ports.add(victim.port)
    await asyncio.sleep(0.3)
    began = time.monotonic()
    status = await victim.stop(timeout=_STOP_BOUND)
    seconds = time.monotonic() - began
    experiment.expect(status == 0, f"a stop without Kafka ended with status {status} after {seconds:.1f} s")
    experiment.metrics["stop without Kafka"] = f"{seconds:.1f} s"
    victim.start()
    await victim.wait_until_ready()
    experiment.load.excluded_ports.clear()


async def _kill_broker(experiment: Experiment) -> float:
    kafka = experiment.servers.kafka
    kafka.kill()
    await experiment.load.wait_for_acknowledged(50)
    await kafka.start()
    return await _wait_for_recovery(experiment)


async def _wait_for_recovery(experiment: Experiment) -> float:
    """Return the seconds until the events in the outbox are published."""
    seconds = await experiment.wait_until_published()
    experiment.expect_within(seconds, _PUBLISHED_BOUND, "publishing after the return of Kafka")
    await experiment.wait_until_balanced()
    return seconds
