"""E1: a replica is killed by SIGKILL at a random moment, again and again."""

import asyncio
import time
from typing import Final

from faults.trial import BATCH, Figures, Plan, Trial, drained, shared, trial, under_load
from faults.world import World

_READY_WITHIN: Final = 5.0
_PUBLISHED_WITHIN: Final = 10.0
_SETTLES_WITHIN: Final = 1.0


async def run(world: World, plan: Plan) -> Figures:
    """The other replica serves on; nothing is lost; the victim is back within seconds."""
    async with trial(world, plan) as one:
        slowest = 0.0
        async with under_load(one):
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                slowest = max(slowest, await _round(one))
        took = await drained(one.stage.database_url)
        one.expect_within(took, _PUBLISHED_WITHIN, "until the backlog was published")
        one.own["slowest restart"] = f"{slowest:.1f} s"
        return await one.judged(duplicates=plan.rounds * BATCH)


async def _round(one: Trial) -> float:
    victim = one.rng.choice(one.replicas)
    await asyncio.sleep(one.rng.uniform(0.05, 0.6))
    killed_at = time.monotonic()
    victim.kill()
    await one.load.grows(20)
    failed = one.load.unknown_since(killed_at - _SETTLES_WITHIN)
    one.expect(
        len(failed) <= one.load.manner.callers,
        f"{len(failed)} calls failed, {one.load.manner.callers} could be under way: {failed[:1]}",
    )
    victim.start()
    ready = await victim.ready()
    one.expect_within(ready, _READY_WITHIN, "a restart")
    await shared(one.replicas)
    await one.load.grows(20)
    return ready
