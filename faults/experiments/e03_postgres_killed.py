"""E3: the whole of PostgreSQL is killed, by SIGKILL or by an immediate stop, and started again."""

import asyncio
import os
import signal
import time
from typing import Final

from faults.trial import BATCH, Figures, Plan, Trial, trial, under_load
from faults.world import World

_BACK_WITHIN: Final = 5.0
_HANG: Final = 12.0
"""Seconds: the service's bound on a request, and a sweep of its deadlines; a noisy machine adds to it."""


async def run(world: World, plan: Plan) -> Figures:
    """What was acknowledged is kept; meanwhile 503; writes are back within seconds, without a restart."""
    async with trial(world, plan) as one:
        slowest = 0.0
        async with under_load(one):
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                slowest = max(slowest, await _round(one))
        one.own["first answer after"] = f"{slowest:.1f} s"
        _look_at_answers(one)
        return await one.judged(duplicates=plan.rounds * BATCH)


async def _round(one: Trial) -> float:
    postgres = one.stage.world.servers.postgres
    await asyncio.sleep(one.rng.uniform(0.05, 0.6))
    if one.rng.random() < 0.5:  # noqa: PLR2004 -- one of the two
        postgres.kill()
    else:
        os.kill(postgres.pid, signal.SIGQUIT)
    await asyncio.sleep(one.rng.uniform(0.1, 0.3 if one.plan.short else 3.0))
    await postgres.stop()
    await postgres.start()
    accepts = time.monotonic()
    await one.load.grows(1)
    took = time.monotonic() - accepts
    one.expect_within(took, _BACK_WITHIN, "the first good answer after Postgres was back")
    await one.load.grows(40)
    return took


def _look_at_answers(one: Trial) -> None:
    bad = [call for call in one.load.unknown_since(0) if call.status != 503]  # noqa: PLR2004 -- HTTP's own
    one.expect(not bad, f"{len(bad)} calls were answered otherwise than by 503, or not at all: {bad[:2]}")
    longest = max(call.ended - call.began for call in one.load.calls)
    one.expect_within(longest, _HANG, "a call")
    one.own["longest call"] = f"{longest:.1f} s"
