"""E17: more callers than the service can serve, and then as many as before."""

import asyncio
import time
from typing import Final

from faults.history import Outcome
from faults.load import Load, Manner, running
from faults.trial import Figures, Plan, Trial, trial, under_load
from faults.world import World

_MANY: Final = 400
_PEAK: Final = 40
_GOODPUT: Final = 0.5
"""Share of the peak; below it is a collapse. The callers share the processors with the service."""

_DEADLINE: Final = 11.0
_NORMAL_WITHIN: Final = 5.0
_TOLERANCE: Final = 3.0
"""Times the latency before; a shared machine is no clock."""


async def run(world: World, plan: Plan) -> Figures:
    """What is accepted is answered in time, what is not is refused; the throughput does not collapse."""
    seconds = 2.0 if plan.short else 20.0
    async with trial(world, plan, replicas=1, manner=Manner(callers=4), MAX_REQUESTS="100") as one:
        async with under_load(one):
            await asyncio.sleep(seconds / 2)
            began = time.monotonic()
            before = one.load.slow(share=0.5)
            peak = await _goodput(one, _PEAK, seconds)
            flood = await _goodput(one, _MANY, seconds)
            one.own["creations and changes a second, at most and flooded"] = f"{peak:.0f} and {flood:.0f}"
            if not plan.short:  # with others on the machine the two say nothing of each other
                one.expect(
                    flood >= _GOODPUT * peak, f"the goodput fell from {peak:.0f} to {flood:.0f} a second"
                )
            await asyncio.sleep(_NORMAL_WITHIN)
            calm = time.monotonic()
            await asyncio.sleep(seconds / 2)
            after = one.load.slow(since=calm, share=0.5)
        one.expect_within(after, max(_TOLERANCE * before, 0.05), "the median after the flood")
        slowest = one.load.slow(since=began)
        one.expect_within(slowest, _DEADLINE, "p99 of what was accepted")
        one.own["p99"] = f"{slowest:.2f} s"
        bad = [call for call in one.load.unknown_since(0) if call.status != 503]  # noqa: PLR2004 -- HTTP's own
        one.expect(not bad, f"{len(bad)} calls were answered otherwise than by 503, or not at all: {bad[:2]}")
        return await one.judged(duplicates=0)


async def _goodput(one: Trial, callers: int, seconds: float) -> float:
    """Good answers a second of so many more callers; their calls are judged with the others."""
    load = Load(
        f"{one.plan.seed}-{callers}",
        one.load.ports,
        one.stage.tenants,
        one.stage.token,
        # Whoever is refused waits a moment; else this process would do nothing but ask.
        Manner(callers=callers, pace=0.0, pause=0.4),
    )
    began = time.monotonic()
    async with running(load):
        await asyncio.sleep(seconds)
        good = sum(call.outcome is Outcome.OK for call in load.calls) / (time.monotonic() - began)
    one.load.calls.extend(load.calls)
    return good
