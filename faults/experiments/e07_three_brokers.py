"""E7: three brokers, each partition on all of them: one is killed at a time, then two at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final
from uuid import uuid4

from faults.trial import BATCH, Figures, Plan, Trial, drained, trial, under_load
from faults.world import World
from service.dev.kafka import EmbeddedKafka
from service.dev.kafka_cluster import EmbeddedKafkaCluster

_DELAY_WITHIN: Final = 15.0
_DRAINED_WITHIN: Final = 60.0
_DOWN: Final = 60.0  # seconds for which two of three are away


async def run(world: World, plan: Plan) -> Figures:
    """Without one broker events come a little later; without two none is acknowledged, and none is lost."""
    async with (
        _cluster(world) as cluster,
        trial(replace(world, bootstrap=cluster.bootstrap_servers), plan) as one,
    ):
        async with under_load(one):
            for number in range(plan.rounds):
                victims = cluster.brokers[:1] if plan.short else cluster.brokers
                for node, broker in enumerate(victims, 1):
                    one.say(
                        f"round {number + 1} of {plan.rounds}, broker {node}, {one.load.acknowledged} acknowledged"
                    )
                    await _without_one(one, broker)
                if not plan.short:
                    await _without_two(one, cluster.brokers)
        failed = one.load.unknown_since(0)
        one.expect(not failed, f"{len(failed)} calls failed: {failed[:2]}")
        return await one.judged(duplicates=plan.rounds * 6 * BATCH)


@asynccontextmanager
async def _cluster(world: World) -> AsyncIterator[EmbeddedKafkaCluster]:
    place = world.directory / f"cluster-{uuid4().hex}"
    cluster = EmbeddedKafkaCluster(place, cache_dir=world.cache, report=world.say)
    await cluster.start()
    try:
        yield cluster
    finally:
        cluster.kill()


async def _without_one(one: Trial, broker: EmbeddedKafka) -> None:
    broker.kill()
    killed_at = time.monotonic()
    await one.load.grows(50)
    # All that was committed by now has to be published though the broker stays away.
    await drained(one.stage.database_url)
    took = time.monotonic() - killed_at
    one.expect_within(took, _DELAY_WITHIN, "an event without one of three brokers")
    one.own["delay without one"] = f"{took:.1f} s"
    await broker.start()
    await one.load.grows(50)
    took = await drained(one.stage.database_url)
    one.expect_within(took, _DRAINED_WITHIN, "until the outbox was empty with three brokers")


async def _without_two(one: Trial, brokers: list[EmbeddedKafka]) -> None:
    away = one.rng.sample(brokers, 2)
    for broker in away:
        broker.kill()
    await asyncio.sleep(_DOWN)
    waiting = int(await one.stage.fetch("SELECT count(*) FROM outbox"))
    one.own["waiting without two"] = str(waiting)
    one.expect(waiting > 0, "events were acknowledged by one broker alone")
    await asyncio.gather(*(broker.start() for broker in away))
    took = await drained(one.stage.database_url)
    one.expect_within(took, _DRAINED_WITHIN, "until the outbox was empty with three brokers again")
    one.own["drained after"] = f"{took:.1f} s"
