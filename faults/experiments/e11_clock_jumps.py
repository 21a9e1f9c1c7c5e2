"""E11: the clock of one replica jumps by minutes and by an hour, forward and back."""

import asyncio
from typing import Final

from faults.experiment import ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers

_OFFSETS: Final = (300, -300, 3600, -3600)  # seconds


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Leases, order and idempotency keys depend on the database's clock and on versions: nothing changes."""
    async with new_experiment(servers, plan, replicas=1) as experiment:
        clock = experiment.deployment.directory / "clock"
        clock.write_text("0")
        shifted = experiment.deployment.add_replica(module=("faults.shifted_clock", str(clock)))
        shifted.start()
        await shifted.wait_until_ready()
        experiment.load.ports = [replica.port for replica in experiment.replicas]
        await experiment.wait_until_balanced()
        async with experiment.under_load():
            for number in range(plan.rounds):
                experiment.report_round(number)
                for seconds in _OFFSETS:
                    clock.write_text(str(seconds))
                    await asyncio.sleep(0.5 if plan.short else 3)  # longer than a lease
                    await experiment.load.wait_for_acknowledged(20)
        experiment.expect_no_failures()
        lost = sum('"event":"shards_lost"' in line for line in experiment.deployment.log_lines())
        experiment.expect(lost == 0, f"shards were lost {lost} times")
        experiment.metrics["jumps"] = str(len(_OFFSETS) * plan.rounds)
        return await experiment.check(duplicates=0)
