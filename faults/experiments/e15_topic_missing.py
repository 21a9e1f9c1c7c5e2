"""E15: the topic does not exist and is created when events have been pending for some time."""

import asyncio
import time
from typing import Final

from faults.deployment import create_topic
from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from testkit.processes import cpu_seconds

_PUBLISHED_BOUND: Final = 30.0
_CPU_BOUND: Final = 0.1
"""Share of a processor; more is a busy loop."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Clients notice nothing, metrics show the backlog, no loop is busy, and all events are published."""
    async with new_experiment(servers, plan, topic=False) as experiment:
        async with experiment.under_load():
            await asyncio.sleep(1 if plan.short else 10)
        await _check_backlog(experiment)
        await create_topic(experiment.deployment)
        seconds = await experiment.wait_until_published()
        experiment.expect_within(seconds, _PUBLISHED_BOUND, "publishing after the creation of the topic")
        experiment.metrics["published after"] = f"{seconds:.1f} s"
        experiment.expect_no_failures()
        return await experiment.check(duplicates=0)


async def _check_backlog(experiment: Experiment) -> None:
    wait = 2.0 if experiment.plan.short else 15.0
    pids = [replica.process.pid for replica in experiment.replicas]
    before, began = sum(map(cpu_seconds, pids)), time.monotonic()
    await asyncio.sleep(wait)
    share = (sum(map(cpu_seconds, pids)) - before) / (time.monotonic() - began) / len(pids)
    metrics = await experiment.replicas[0].metrics()
    depth, age = metrics["outbox_depth"], metrics["outbox_oldest_age_seconds"]
    experiment.expect(depth > 0 and age >= wait, f"metrics show {depth:.0f} pending events, for {age:.1f} s")
    experiment.expect(share < _CPU_BOUND, f"a replica without a topic uses {share:.0%} of a processor")
    experiment.metrics["pending"] = f"{depth:.0f}, for {age:.0f} s"
    experiment.metrics["processor"] = f"{share:.1%}"
