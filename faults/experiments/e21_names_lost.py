"""E21: the names of Postgres and Kafka can no longer be resolved."""

import asyncio
import os
import re
import time
from typing import Final

from faults.proxy import proxy
from faults.replica import FaultError
from faults.stage import free_port
from faults.trial import BATCH, Figures, Plan, Trial, shared, through, trial, under_load
from faults.world import World

_RECOVERED_WITHIN: Final = 30.0
_NAMES: Final = "127.0.0.1 localhost postgres.test kafka.test\n"
_NO_NAMES: Final = "127.0.0.1 localhost\n"


async def run(world: World, plan: Plan) -> Figures:
    """Connections that exist work on; without them 503, and all is well when the names are back."""
    if os.geteuid() != 0:
        raise FaultError("a replica gets a file of names of its own from root alone")
    async with (
        proxy(free_port(world.directory), world.postgres_port) as wire,
        trial(world, plan, replicas=0) as one,
    ):
        hosts, resolver = one.stage.directory / "hosts", one.stage.directory / "resolver"
        hosts.write_text(_NAMES)
        # Nobody answers there, which is told at once.
        resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        url = re.sub(r"@[^:/]+:", "@postgres.test:", through(wire, one.stage.database_url))
        for _ in range(2):
            replica = one.stage.replica(
                module=("faults.own_hosts", str(hosts), str(resolver)),
                DATABASE_URL=url,
                KAFKA_BOOTSTRAP_SERVERS=world.bootstrap.replace("127.0.0.1", "kafka.test"),
            )
            replica.start()
            await replica.ready()
        one.load.ports = [replica.port for replica in one.replicas]
        await shared(one.replicas)
        async with under_load(one):
            for _ in range(plan.rounds):
                hosts.write_text(_NO_NAMES)
                await _goes_on(one)
                wire.cut()
                await asyncio.sleep(1 if plan.short else 10)
                hosts.write_text(_NAMES)
                await _recovers(one)
        bad = [call for call in one.load.unknown_since(0) if call.status != 503]  # noqa: PLR2004 -- HTTP's own
        one.expect(not bad, f"{len(bad)} calls were answered otherwise than by 503, or not at all: {bad[:2]}")
        return await one.judged(duplicates=plan.rounds * 2 * BATCH)


async def _goes_on(one: Trial) -> None:
    lost_at = time.monotonic()
    await one.load.grows(50)
    failed = one.load.unknown_since(lost_at)
    # A pool that grows in this moment needs the name.
    one.own["failed on connections that exist"] = str(len(failed))


async def _recovers(one: Trial) -> None:
    back_at = time.monotonic()
    await one.load.grows(20, within=60)
    took = time.monotonic() - back_at
    one.expect_within(took, _RECOVERED_WITHIN, "20 good answers after the names were back")
    one.own["recovered after"] = f"{took:.1f} s"
    await shared(one.replicas)
