"""E11: the clock of one replica jumps, by minutes and by an hour, forward and back."""

import asyncio
from typing import Final

from faults.trial import Figures, Plan, Trial, shared, trial, under_load
from faults.world import World

_JUMPS: Final = (300, -300, 3600, -3600)  # seconds


async def run(world: World, plan: Plan) -> Figures:
    """Leases, order and idempotency keys go by the database's time and by versions: nobody notices."""
    async with trial(world, plan, replicas=1) as one:
        clock = one.stage.directory / "clock"
        clock.write_text("0")
        wrong = one.stage.replica(module=("faults.jumping_clock", str(clock)))
        wrong.start()
        await wrong.ready()
        one.load.ports = [replica.port for replica in one.replicas]
        await shared(one.replicas)
        async with under_load(one):
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                for seconds in _JUMPS:
                    clock.write_text(str(seconds))
                    await _peace(one)
        failed = one.load.unknown_since(0)
        one.expect(not failed, f"{len(failed)} calls failed: {failed[:2]}")
        lost = sum('"event":"shards_lost"' in line for line in one.stage.logs())
        one.expect(lost == 0, f"shards were lost {lost} times")
        one.own["jumps"] = str(len(_JUMPS) * plan.rounds)
        return await one.judged(duplicates=0)


async def _peace(one: Trial) -> None:
    """Longer than a lease."""
    await asyncio.sleep(0.5 if one.plan.short else 3)
    await one.load.grows(20)
