"""E4: a standby is promoted; the old primary stays up, read-only, with all its connections."""

import time
from typing import Final
from uuid import uuid4

import asyncpg

from faults.proxy import proxy
from faults.stage import free_port
from faults.standby import Standby
from faults.trial import BATCH, Figures, Plan, Trial, trial, under_load
from faults.world import World

_BACK_WITHIN: Final = 30.0
_READ_ONLY: Final = "ReadOnlySQLTransactionError"
_POOL: Final = 10


async def run(world: World, plan: Plan) -> Figures:
    """Writes work again within seconds and without a restart; nothing acknowledged is lost: it was fed to the end.

    The way to the database changes for new connections alone, as a name or an address that moves does.
    """
    async with (
        proxy(free_port(world.directory), world.postgres_port) as wire,
        trial(world, plan, wire=wire) as one,
    ):
        standby = Standby(world, world.directory / f"standby-{uuid4().hex}")
        try:
            await standby.start()
            async with under_load(one):
                await one.load.grows(50)
                await _set_read_only(world, "on")
                await standby.fed()
                await standby.promote()
                wire.target = standby.port
                moved_at = time.monotonic()
                await one.load.grows(1, within=60)
                took = time.monotonic() - moved_at
                one.expect_within(took, _BACK_WITHIN, "the first good answer after the failover")
                await one.load.grows(100)
            one.own["first answer after"] = f"{took:.1f} s"
            _count_read_only(one)
            one.stage.database_url = one.stage.database_url.replace(
                f":{world.postgres_port}/", f":{standby.port}/"
            )
            return await one.judged(duplicates=2 * BATCH)
        finally:
            for replica in one.replicas:
                replica.kill()
            standby.kill()
            await _set_read_only(world, "off")


async def _set_read_only(world: World, how: str) -> None:
    """For the sessions that there are too, whatever they asked for: none of them may write any more."""
    connection = await asyncpg.connect(world.servers.postgres.url)
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {how}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


def _count_read_only(one: Trial) -> None:
    """Each connection of the pool meets it once at most; then it is replaced."""
    seen = sum(_READ_ONLY in line for line in one.stage.logs())
    one.own["refused as read-only"] = str(seen)
    most = 3 * len(one.replicas) * _POOL
    one.expect(seen <= most, f"{seen} statements were refused as read-only, more than {most}")
