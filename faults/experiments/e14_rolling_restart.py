"""E14: three replicas are replaced one after the other, behind a balancer that learns of it late."""

import asyncio
import signal
import time
from typing import Final

from faults.balancer import Balancer, balancer
from faults.load import Manner
from faults.replica import Replica
from faults.stage import free_port
from faults.trial import Figures, Plan, Trial, trial, under_load
from faults.world import World

_REPLICAS: Final = 3
_LATE: Final = 5.0  # seconds
_DELAY: Final = 7.0
"""Seconds of SHUTDOWN_DELAY: more than routers need to notice."""

_GRACE: Final = 30.0


async def run(world: World, plan: Plan) -> Figures:
    """No request fails, on old connections or on new ones; each stop ends well and within its grace."""
    late, delay = (0.7, 1.5) if plan.short else (_LATE, _DELAY)
    manner = Manner(callers=8, pace=0.02, fresh=True)
    replicas = 2 if plan.short else _REPLICAS
    async with trial(world, plan, replicas=replicas, manner=manner, SHUTDOWN_DELAY=str(delay)) as one:
        targets = [replica.port for replica in one.replicas]
        async with balancer(free_port(world.directory), targets, one.rng) as network:
            one.load.ports = [network.port]
            longest = 0.0
            async with under_load(one):
                for number in range(plan.rounds):
                    one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                    for replica in one.replicas:
                        longest = max(longest, await _replaced(one, network, replica, late))
        failed = one.load.unknown_since(0)
        one.expect(not failed, f"{len(failed)} calls failed: {failed[:3]}")
        one.own["calls"] = str(len(one.load.calls))
        one.own["failed"] = str(len(failed))
        one.own["longest stop"] = f"{longest:.1f} s"
        # A hand-over is no fault: nothing comes twice.
        return await one.judged(duplicates=0)


async def _replaced(one: Trial, network: Balancer, replica: Replica, late: float) -> float:
    began = time.monotonic()
    replica.send(signal.SIGTERM)
    await asyncio.sleep(late)
    network.targets.remove(replica.port)
    status = await replica.ended(within=_GRACE)
    took = time.monotonic() - began
    one.expect(status == 0, f"a stop ended with {status} after {took:.1f} s")
    replica.start()
    await replica.ready()
    network.targets.append(replica.port)
    await one.load.grows(20)
    return took
