"""E18: a random fault every twenty seconds; the resource use of the replica that keeps running must not grow."""

import asyncio
import time
from collections import Counter
from typing import Final

from faults.experiment import BATCH, ExperimentResult, Plan, new_experiment
from faults.load import LoadProfile
from faults.random_faults import FAULTS, Fault, FaultTargets
from faults.resource_growth import Sample, find_growth, take_sample
from faults.shared_servers import SharedServers
from testkit.proxy import proxy

INTERVAL: Final = 20.0
"""Seconds from one fault to the next; longer if the recovery takes longer."""

_SHORT_INTERVAL: Final = 3.0
_RECOVERY_BOUND: Final = 60.0


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """The service recovers from each fault on its own; a round is a fault."""
    profile = LoadProfile(clients=4, interval=0.05)
    async with (
        proxy(servers.postgres_port) as postgres_proxy,
        new_experiment(servers, plan, postgres_proxy=postgres_proxy, profile=profile) as experiment,
    ):
        targets = FaultTargets(experiment, postgres_proxy, experiment.replicas[1])
        samples: list[Sample] = []
        chosen: Counter[str] = Counter()
        async with experiment.under_load():
            for number in range(plan.rounds):
                fault = experiment.rng.choice(FAULTS)
                chosen[fault.__name__] += 1
                experiment.report_round(number, fault.__name__)
                await _cause(targets, number, fault)
                samples.append(await take_sample(experiment.replicas[0]))
        metrics, growth = find_growth(samples)
        experiment.metrics.update(metrics)
        experiment.metrics["faults"] = ", ".join(f"{number} {name}" for name, number in chosen.most_common())
        experiment.bound_violations.extend(growth)
        return await experiment.check(duplicates=plan.rounds * 2 * BATCH)


async def _cause(targets: FaultTargets, number: int, fault: Fault) -> None:
    experiment, began = targets.experiment, time.monotonic()
    where = f"fault {number + 1}, {fault.__name__}"
    await fault(targets)
    fault_ended_at = time.monotonic()
    await experiment.load.wait_for_acknowledged(20, timeout=_RECOVERY_BOUND)
    await targets.victim.wait_until_ready()
    seconds = await experiment.wait_until_published()
    await experiment.wait_until_balanced(timeout=_RECOVERY_BOUND)
    experiment.expect_within(time.monotonic() - fault_ended_at, _RECOVERY_BOUND, f"the recovery from {where}")
    experiment.expect_within(seconds, _RECOVERY_BOUND, f"publishing after {where}")
    interval = _SHORT_INTERVAL if experiment.plan.short else INTERVAL
    await asyncio.sleep(max(0.0, interval - (time.monotonic() - began)))
