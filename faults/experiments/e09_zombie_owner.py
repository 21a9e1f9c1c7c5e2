"""E9: a replica is halted for longer than its lease, and wakes when another has published newer versions."""

import asyncio
import signal
import time
from typing import Final

from faults.load import Manner
from faults.replica import Replica
from faults.trial import BATCH, Figures, Plan, Trial, shared, trial, under_load
from faults.world import World

_LEASE: Final = 2.0
_TAKEN_OVER_WITHIN: Final = _LEASE + 5
_HALTED: Final = 30.0  # seconds; more than any lease in use


async def run(world: World, plan: Plan) -> Figures:
    """It is fenced: what it still holds never lands behind the newer versions."""
    async with trial(world, plan, manner=Manner(callers=8, pace=0.002), SHARD_LEASE=str(_LEASE)) as one:
        slowest = 0.0
        async with under_load(one):
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                slowest = max(slowest, await _round(one))
        one.own["slowest takeover"] = f"{slowest:.1f} s"
        one.own["fenced"] = str(sum("another owner has opened" in line for line in one.stage.logs()))
        return await one.judged(duplicates=plan.rounds * 2 * BATCH)


async def _round(one: Trial) -> float:
    victim, other = one.rng.sample(one.replicas, 2)
    await asyncio.sleep(one.rng.uniform(0.05, 0.5))
    halted_at = time.monotonic()
    victim.send(signal.SIGSTOP)
    one.load.avoided.add(victim.port)
    try:
        took = await _owns_all(one, other, halted_at)
        await one.load.grows(100)
        await asyncio.sleep(0.0 if one.plan.short else max(0.0, _HALTED - (time.monotonic() - halted_at)))
    finally:
        victim.send(signal.SIGCONT)
    one.load.avoided.clear()
    await shared(one.replicas)
    await one.load.grows(50)
    return took


async def _owns_all(one: Trial, other: Replica, since: float) -> float:
    while (await other.metrics())["shards_owned"] < 12:  # noqa: PLR2004 -- the number of shards
        await asyncio.sleep(0.05)
        if time.monotonic() - since > 5 * _TAKEN_OVER_WITHIN:
            break
    took = time.monotonic() - since
    one.expect_within(took, _TAKEN_OVER_WITHIN, "the takeover")
    return took
