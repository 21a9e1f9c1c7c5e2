"""E15: there is no topic; it is made when events have long been waiting for it."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from faults.replica import Replica
from faults.stage import make_topic
from faults.trial import Figures, Plan, Trial, drained, trial, under_load
from faults.world import World

_DRAINED_WITHIN: Final = 30.0
_BUSY: Final = 0.1
"""Share of a processor; more is a busy loop."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


async def run(world: World, plan: Plan) -> Figures:
    """Callers notice nothing, the backlog can be seen, nothing spins, and all of it goes out in the end."""
    async with trial(world, plan, topic=False) as one:
        async with under_load(one):
            await asyncio.sleep(1 if plan.short else 10)
        await _look(one)
        await make_topic(one.stage)
        took = await drained(one.stage.database_url)
        one.expect_within(took, _DRAINED_WITHIN, "until the outbox was empty after the topic was made")
        one.own["drained after"] = f"{took:.1f} s"
        failed = one.load.unknown_since(0)
        one.expect(not failed, f"{len(failed)} calls failed: {failed[:2]}")
        return await one.judged(duplicates=0)


async def _look(one: Trial) -> None:
    seconds = 2.0 if one.plan.short else 15.0
    before = sum(map(_used, one.replicas))
    began = time.monotonic()
    await asyncio.sleep(seconds)
    share = (sum(map(_used, one.replicas)) - before) / (time.monotonic() - began) / len(one.replicas)
    metrics = await one.replicas[0].metrics()
    depth, age = metrics["outbox_depth"], metrics["outbox_oldest_age_seconds"]
    one.expect(depth > 0 and age >= seconds, f"{depth:.0f} events are seen to wait, for {age:.1f} s")
    one.expect(share < _BUSY, f"a replica that can do nothing uses {share:.0%} of a processor")
    one.own["seen to wait"] = f"{depth:.0f}, for {age:.0f} s"
    one.own["processor"] = f"{share:.1%}"


def _used(replica: Replica) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{replica.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
