"""E8: replicas are cut off from Postgres and from Kafka: in silence, one way, by refusals, and again and again."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final
from uuid import uuid4

from faults.proxy import Proxy, proxy
from faults.stage import free_port
from faults.trial import BATCH, Figures, Plan, Trial, drained, shared, trial, under_load
from faults.world import World
from service.dev.kafka import EmbeddedKafka

_RECOVERED_WITHIN: Final = 30.0
_HANG: Final = 12.0
_POOL: Final = 10
_BESIDE_THE_POOL: Final = 1
"""Connections of a replica that listen for notifications."""

Harm = Callable[[Proxy], Awaitable[None]]


async def _silent(wire: Proxy) -> None:
    wire.silence()


async def _deaf(wire: Proxy) -> None:
    """The server hears and is not heard."""
    wire.silence(to_server=False)


async def _refused(wire: Proxy) -> None:
    await wire.refuse()


async def _reset(wire: Proxy) -> None:
    wire.cut()


_HARMS: Final[tuple[Harm, ...]] = (_silent, _deaf, _refused, _reset)


async def run(world: World, plan: Plan) -> Figures:
    """Without Postgres 503, without Kafka nothing to notice; all is well within seconds after the healing."""
    port = free_port(world.directory)
    async with (
        proxy(free_port(world.directory), world.postgres_port) as to_postgres,
        _kafka(world, port) as kafka,
        proxy(port, kafka.far_port) as to_kafka,
        trial(
            replace(world, bootstrap=kafka.bootstrap_servers),
            plan,
            wire=to_postgres,
            KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}",
        ) as one,
    ):
        async with under_load(one):
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                for harm in _HARMS[:1] if plan.short else _HARMS:
                    await _harmed(one, to_postgres, harm)
                    await _unnoticed(one, to_kafka, harm)
                for wire in () if plan.short else (to_postgres, to_kafka):
                    await _flapping(one, wire)
        bad = [call for call in one.load.unknown_since(0) if call.status != 503]  # noqa: PLR2004 -- HTTP's own
        one.expect(not bad, f"{len(bad)} calls were answered otherwise than by 503, or not at all: {bad[:2]}")
        longest = max(call.ended - call.began for call in one.load.calls)
        one.expect_within(longest, _HANG, "a call")
        one.own["longest call"] = f"{longest:.1f} s"
        return await one.judged(duplicates=plan.rounds * 20 * BATCH)


@asynccontextmanager
async def _kafka(world: World, port: int) -> AsyncIterator[EmbeddedKafka]:
    """A broker of its own, because this one tells its clients to come through the proxy."""
    place = world.directory / f"kafka-{uuid4().hex}"
    made = EmbeddedKafka(place, cache_dir=world.cache, report=world.say, proxied_at=port)
    await made.start()
    try:
        yield made
    finally:
        made.kill()


def _seconds(one: Trial, whole: float) -> float:
    return 1.5 if one.plan.short else whole


async def _harmed(one: Trial, wire: Proxy, harm: Harm) -> None:
    one.say(f"Postgres: {harm.__name__}")
    await harm(wire)
    await asyncio.sleep(_seconds(one, one.rng.uniform(5, 15)))
    most = len(one.replicas) * (_POOL + _BESIDE_THE_POOL)
    one.expect(wire.connections <= most + 2 * _POOL, f"{wire.connections} connections to Postgres at once")
    await wire.listen()
    wire.heal()
    await _recovers(one, harm.__name__.strip("_"))


async def _unnoticed(one: Trial, wire: Proxy, harm: Harm) -> None:
    one.say(f"Kafka: {harm.__name__}")
    began = time.monotonic()
    await harm(wire)
    await asyncio.sleep(_seconds(one, one.rng.uniform(5, 15)))
    failed = one.load.unknown_since(began)
    one.expect(not failed, f"{len(failed)} calls failed without Kafka: {failed[:2]}")
    await wire.listen()
    wire.heal()
    took = await drained(one.stage.database_url)
    one.expect_within(took, _RECOVERED_WITHIN, f"until the outbox was empty after {harm.__name__}")
    one.own["drained"] = f"{max(took, float(one.own.get('drained', '0 s').split()[0])):.1f} s"


async def _flapping(one: Trial, wire: Proxy) -> None:
    """Away for a second, back for a second, for a minute."""
    for _ in range(30):
        wire.silence()
        await asyncio.sleep(1)
        wire.heal()
        wire.cut()
        await asyncio.sleep(1)
    await _recovers(one, "flapping")


async def _recovers(one: Trial, what: str) -> None:
    healed_at = time.monotonic()
    await one.load.grows(30, within=60)
    took = time.monotonic() - healed_at
    one.expect_within(took, _RECOVERED_WITHIN, f"30 good answers after {what}")
    one.own["recovered"] = f"{max(took, float(one.own.get('recovered', '0 s').split()[0])):.1f} s"
    await drained(one.stage.database_url)
    await shared(one.replicas)
