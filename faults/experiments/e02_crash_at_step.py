"""E2: a replica crashes at each step of a change, from before its INSERT until its outbox row is deleted."""

from typing import Final

from faults.crashing_service import EXIT_STATUS, STEPS
from faults.errors import ExperimentError
from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers

_CRASH_TIMEOUT: Final = 30.0
_SHORT_STEPS: Final = ("after-commit",)


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """After the commit a retry returns the same key, before it nothing is stored; copies are explained."""
    async with new_experiment(servers, plan) as experiment:
        crashes = 0
        async with experiment.under_load():
            for number in range(plan.rounds):
                for step in _SHORT_STEPS if plan.short else STEPS:
                    experiment.report_round(number, step)
                    await crash(experiment, step, experiment.rng.randint(20, 60))
                    crashes += 1
        experiment.metrics["crashes"] = str(crashes)
        return await experiment.check(duplicates=crashes * BATCH)


async def crash(experiment: Experiment, step: str, number: int) -> None:
    """Replace a replica by one that crashes when it reaches the step for this time, and start it again afterwards."""
    victim = experiment.rng.choice(experiment.replicas)
    module = victim.module
    victim.kill()
    victim.module = ("faults.crashing_service", step, str(number))
    victim.start()
    victim.module = module
    status = await victim.process.wait_for_exit(timeout=_CRASH_TIMEOUT)
    if status != EXIT_STATUS:
        raise ExperimentError(f"the replica did not crash at {step}: {status}\n{victim.log_tail()}")
    victim.start()
    await victim.wait_until_ready()
    await experiment.wait_until_balanced()
