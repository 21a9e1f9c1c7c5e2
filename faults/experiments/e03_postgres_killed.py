"""E3: PostgreSQL is killed by SIGKILL or shut down in immediate mode, and started again."""

import asyncio
import os
import signal
from typing import Final

from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers

_RECOVERY_BOUND: Final = 5.0
_CALL_BOUND: Final = 12.0
"""Seconds: the service's time limit of a request and one check of its deadlines, with a margin."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Acknowledged changes are kept; meanwhile 503; writes succeed again within seconds, without a restart."""
    async with new_experiment(servers, plan) as experiment:
        slowest = 0.0
        async with experiment.under_load():
            for number in range(plan.rounds):
                experiment.report_round(number)
                slowest = max(slowest, await _kill_and_restart(experiment))
        experiment.metrics["first success after"] = f"{slowest:.1f} s"
        experiment.expect_only_503()
        longest = experiment.load.longest_call()
        experiment.expect_within(longest, _CALL_BOUND, "a request")
        experiment.metrics["longest request"] = f"{longest:.1f} s"
        return await experiment.check(duplicates=plan.rounds * BATCH)


async def _kill_and_restart(experiment: Experiment) -> float:
    postgres = experiment.servers.postgres
    await asyncio.sleep(experiment.rng.uniform(0.05, 0.6))
    if experiment.rng.random() < 0.5:  # noqa: PLR2004 -- one half
        postgres.kill()
    else:
        os.kill(postgres.pid, signal.SIGQUIT)
    await asyncio.sleep(experiment.rng.uniform(0.1, 0.3 if experiment.plan.short else 3.0))
    await postgres.stop()
    await postgres.start()
    seconds = await experiment.load.wait_for_acknowledged(1)
    experiment.expect_within(seconds, _RECOVERY_BOUND, "the first success after the start of Postgres")
    await experiment.load.wait_for_acknowledged(40)
    return seconds
