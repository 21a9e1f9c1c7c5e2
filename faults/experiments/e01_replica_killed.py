"""E1: a replica is killed by SIGKILL at a random time, repeatedly."""

import asyncio
import time
from typing import Final

from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers

_READY_BOUND: Final = 5.0
_PUBLISHED_BOUND: Final = 10.0
_REQUEST_BEFORE: Final = 1.0
"""Seconds before the kill within which a request that fails by it was sent."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """The other replica keeps serving; nothing is lost; the killed replica is ready again within seconds."""
    async with new_experiment(servers, plan) as experiment:
        slowest = 0.0
        async with experiment.under_load():
            for number in range(plan.rounds):
                experiment.report_round(number)
                slowest = max(slowest, await _kill_and_restart(experiment))
        seconds = await experiment.wait_until_published()
        experiment.expect_within(seconds, _PUBLISHED_BOUND, "publishing the backlog")
        experiment.metrics["slowest restart"] = f"{slowest:.1f} s"
        return await experiment.check(duplicates=plan.rounds * BATCH)


async def _kill_and_restart(experiment: Experiment) -> float:
    victim = experiment.rng.choice(experiment.replicas)
    await asyncio.sleep(experiment.rng.uniform(0.05, 0.6))
    killed_at = time.monotonic()
    victim.kill()
    await experiment.load.wait_for_acknowledged(20)
    failed = experiment.load.failed_since(killed_at - _REQUEST_BEFORE)
    clients = experiment.load.profile.clients
    experiment.expect(
        len(failed) <= clients, f"{len(failed)} requests failed, {clients} could be running: {failed[:1]}"
    )
    victim.start()
    ready_after = await victim.wait_until_ready()
    experiment.expect_within(ready_after, _READY_BOUND, "a restart")
    await experiment.wait_until_balanced()
    await experiment.load.wait_for_acknowledged(20)
    return ready_after
