"""E2: a replica dies at each step of a change's way, from before its insert until its row is deleted."""

from typing import Final

from faults.dying import DEATH, STEPS
from faults.replica import FaultError
from faults.trial import BATCH, Figures, Plan, Trial, shared, trial, under_load
from faults.world import World

_DIES_WITHIN: Final = 30.0
_SHORT: Final = ("after-commit",)


async def run(world: World, plan: Plan) -> Figures:
    """After the commit a retry finds the same key; before it nothing is left; then one copy more."""
    async with trial(world, plan) as one:
        deaths = 0
        async with under_load(one):
            for number in range(plan.rounds):
                for step in _SHORT if plan.short else STEPS:
                    one.say(
                        f"round {number + 1} of {plan.rounds}, {step}, {one.load.acknowledged} acknowledged"
                    )
                    await _dies(one, step)
                    deaths += 1
        one.own["deaths"] = str(deaths)
        return await one.judged(duplicates=deaths * BATCH)


async def _dies(one: Trial, step: str) -> None:
    """In place of one of the replicas, which is there again afterwards."""
    victim = one.rng.choice(one.replicas)
    usual = victim.module
    victim.kill()
    victim.module = ("faults.dying", step, str(one.rng.randint(20, 60)))
    victim.start()
    victim.module = usual
    status = await victim.ended(within=_DIES_WITHIN)
    if status != DEATH:
        raise FaultError(f"the replica did not die at {step}: {status}\n{victim.last_words()}")
    victim.start()
    await victim.ready()
    await shared(one.replicas)
