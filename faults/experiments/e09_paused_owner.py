"""E9: a replica is paused for longer than its lease and resumes after another one published newer versions."""

import asyncio
import time
from typing import Final

from faults.deployment import PARTITIONS
from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.load import LoadProfile
from faults.shared_servers import SharedServers
from testkit.polling import poll_until
from testkit.processes import pause, resume
from testkit.replica import Replica

_LEASE: Final = 2.0
_TAKEOVER_BOUND: Final = _LEASE + 5
_PAUSED: Final = 30.0
"""Seconds; more than any lease in use."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """The paused owner is fenced: its pending records never follow newer versions."""
    profile = LoadProfile(clients=8, interval=0.002)
    async with new_experiment(servers, plan, profile=profile, SHARD_LEASE=str(_LEASE)) as experiment:
        slowest = 0.0
        async with experiment.under_load():
            for number in range(plan.rounds):
                experiment.report_round(number)
                slowest = max(slowest, await _pause_owner(experiment))
        experiment.metrics["slowest takeover"] = f"{slowest:.1f} s"
        fenced = sum("another owner has opened" in line for line in experiment.deployment.log_lines())
        experiment.metrics["fenced"] = str(fenced)
        return await experiment.check(duplicates=plan.rounds * 2 * BATCH)


async def _pause_owner(experiment: Experiment) -> float:
    victim, other = experiment.rng.sample(experiment.replicas, 2)
    await asyncio.sleep(experiment.rng.uniform(0.05, 0.5))
    paused_at = time.monotonic()
    pause(victim.process.pid)
    experiment.load.excluded_ports.add(victim.port)
    try:
        seconds = await _wait_for_takeover(experiment, other, paused_at)
        await experiment.load.wait_for_acknowledged(100)
        if not experiment.plan.short:
            await asyncio.sleep(max(0.0, _PAUSED - (time.monotonic() - paused_at)))
    finally:
        resume(victim.process.pid)
    experiment.load.excluded_ports.clear()
    await experiment.wait_until_balanced()
    await experiment.load.wait_for_acknowledged(50)
    return seconds


async def _wait_for_takeover(experiment: Experiment, other: Replica, paused_at: float) -> float:
    async def is_over() -> bool:
        owns_all = (await other.metrics())["shards_owned"] == PARTITIONS
        return owns_all or time.monotonic() - paused_at > 5 * _TAKEOVER_BOUND

    await poll_until(is_over, timeout=6 * _TAKEOVER_BOUND, interval=0.05)
    seconds = time.monotonic() - paused_at
    experiment.expect_within(seconds, _TAKEOVER_BOUND, "the takeover")
    return seconds
