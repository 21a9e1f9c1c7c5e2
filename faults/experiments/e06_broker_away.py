"""E6: the broker is halted, then killed and started again; a replica is ended meanwhile."""

import asyncio
import signal
import time
from typing import Final

from faults.trial import BATCH, Figures, Plan, Trial, drained, shared, trial, under_load
from faults.world import World

_DRAINED_WITHIN: Final = 30.0
_GRACE: Final = 25.0
_NOISE: Final = 0.1
"""Seconds below which two latencies of a shared machine are not told apart."""


async def run(world: World, plan: Plan) -> Figures:
    """Callers notice nothing; the outbox is empty soon after; a stop meanwhile ends within its grace."""
    async with trial(world, plan) as one:
        slowest = 0.0
        async with under_load(one):
            await one.load.grows(100)
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                slowest = max(slowest, await _halted(one))
                if not plan.short:
                    slowest = max(slowest, await _killed(one))
        one.own["slowest drain"] = f"{slowest:.1f} s"
        failed = one.load.unknown_since(0)
        one.expect(not failed, f"{len(failed)} calls failed: {failed[:2]}")
        return await one.judged(duplicates=plan.rounds * 4 * BATCH)


async def _halted(one: Trial) -> float:
    kafka = one.stage.world.servers.kafka
    began = one.load.calls[0].began
    halted_at = time.monotonic()
    kafka.pause()
    try:
        await asyncio.sleep(1.0 if one.plan.short else 30.0)
        await _stop_a_replica(one)
        before, during = one.load.slow(since=began, until=halted_at), one.load.slow(since=halted_at)
    finally:
        kafka.resume()
    one.own["p99 before and during"] = f"{before * 1000:.0f} and {during * 1000:.0f} ms"
    one.expect_within(during, max(2 * before, _NOISE), f"p99, {before * 1000:.0f} ms before,")
    return await _drained(one)


async def _stop_a_replica(one: Trial) -> None:
    """Its callers go to the other one first, as a balancer's would; its drain is another experiment."""
    victim = one.rng.choice(one.replicas)
    one.load.avoided.add(victim.port)
    await asyncio.sleep(0.3)
    began = time.monotonic()
    victim.send(signal.SIGTERM)
    status = await victim.ended(within=_GRACE)
    took = time.monotonic() - began
    one.expect(
        status == 0, f"a replica that was stopped without Kafka ended with {status} after {took:.1f} s"
    )
    one.own["stop without Kafka"] = f"{took:.1f} s"
    victim.start()
    await victim.ready()
    one.load.avoided.clear()


async def _killed(one: Trial) -> float:
    kafka = one.stage.world.servers.kafka
    kafka.kill()
    await one.load.grows(50)
    await kafka.start()
    return await _drained(one)


async def _drained(one: Trial) -> float:
    """From the moment that Kafka is back until what waited then is published."""
    took = await drained(one.stage.database_url)
    one.expect_within(took, _DRAINED_WITHIN, "until the outbox was empty after Kafka was back")
    await shared(one.replicas)
    return took
