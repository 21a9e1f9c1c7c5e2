"""E18: a fault chosen at random every twenty seconds, for as long as one likes; what lives on must not grow."""

import asyncio
import time
from collections import Counter
from typing import Final

from faults.growth import Sample, judge, sample
from faults.harms import HARMS, Harm, Scene
from faults.load import Manner
from faults.proxy import proxy
from faults.stage import free_port
from faults.trial import BATCH, Figures, Plan, drained, shared, trial, under_load
from faults.world import World

EVERY: Final = 20.0
"""Seconds from one fault to the next; one that takes longer to heal delays it."""

_SHORT_EVERY: Final = 3.0
_HEALED_WITHIN: Final = 60.0


async def run(world: World, plan: Plan) -> Figures:
    """Everything heals by itself, each time; a round is a fault."""
    async with (
        proxy(free_port(world.directory), world.postgres_port) as wire,
        trial(world, plan, wire=wire, manner=Manner(callers=4, pace=0.05)) as one,
    ):
        scene = Scene(one, wire, one.replicas[1])
        samples: list[Sample] = []
        chosen: Counter[str] = Counter()
        async with under_load(one):
            for number in range(plan.rounds):
                harm = one.rng.choice(HARMS)
                chosen[harm.__name__] += 1
                one.say(
                    f"fault {number + 1} of {plan.rounds}, {harm.__name__}, {one.load.acknowledged} acknowledged"
                )
                await _round(scene, number, harm)
                samples.append(await sample(one.replicas[0]))
        figures, grown = judge(samples)
        one.own.update(figures)
        one.own["faults"] = ", ".join(f"{number} {name}" for name, number in chosen.most_common())
        one.bounds.extend(grown)
        return await one.judged(duplicates=plan.rounds * 2 * BATCH)


async def _round(scene: Scene, number: int, harm: Harm) -> None:
    one, name, began = scene.one, harm.__name__, time.monotonic()
    await harm(scene)
    healed_at = time.monotonic()
    await one.load.grows(20, within=_HEALED_WITHIN)
    await scene.victim.ready()
    took = await drained(one.stage.database_url)
    await shared(one.replicas, within=_HEALED_WITHIN)
    one.expect_within(time.monotonic() - healed_at, _HEALED_WITHIN, f"healing of fault {number + 1}, {name}")
    one.expect_within(took, _HEALED_WITHIN, f"the outbox after fault {number + 1}, {name}")
    every = _SHORT_EVERY if one.plan.short else EVERY
    await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))
