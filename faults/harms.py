"""Faults to choose from at random, each with its healing; what a soak is made of."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import asyncpg

from faults.proxy import Proxy
from faults.replica import Replica
from faults.trial import Trial


@dataclass(frozen=True, slots=True)
class Scene:
    """What can be harmed.

    Attributes:
        one: The experiment.
        wire: The way to Postgres.
        victim: The replica that may be ended; the other one lives through everything.
    """

    one: Trial
    wire: Proxy
    victim: Replica

    @property
    def seconds(self) -> float:
        """For how long a fault lasts that lasts: up to more than a lease."""
        return self.one.rng.uniform(0.2, 6)


async def replica_killed(scene: Scene) -> None:
    """By SIGKILL."""
    scene.victim.kill()
    await asyncio.sleep(scene.seconds)
    scene.victim.start()


async def replica_stopped(scene: Scene) -> None:
    """By SIGTERM."""
    scene.victim.send(signal.SIGTERM)
    status = await scene.victim.ended(within=30)
    scene.one.expect(status == 0, f"a stop ended with {status}")
    scene.victim.start()


async def replica_halted(scene: Scene) -> None:
    """Longer than its lease, perhaps; either of them."""
    victim = scene.one.rng.choice(scene.one.replicas)
    victim.send(signal.SIGSTOP)
    await asyncio.sleep(scene.seconds)
    victim.send(signal.SIGCONT)


async def postgres_killed(scene: Scene) -> None:
    """The whole of it."""
    scene.one.stage.world.servers.postgres.kill()
    await asyncio.sleep(scene.seconds / 3)
    await scene.one.stage.world.servers.postgres.start()


async def postgres_stopped(scene: Scene) -> None:
    """By an immediate stop."""
    postgres = scene.one.stage.world.servers.postgres
    os.kill(postgres.pid, signal.SIGQUIT)
    await asyncio.sleep(scene.seconds / 3)
    await postgres.stop()
    await postgres.start()


async def postgres_silent(scene: Scene) -> None:
    """Nothing comes through, and nothing breaks."""
    scene.wire.silence(to_server=scene.one.rng.random() < 0.5)  # noqa: PLR2004 -- one of the two
    await asyncio.sleep(scene.seconds)
    scene.wire.heal()


async def postgres_cut(scene: Scene) -> None:
    """Every connection is reset, some times."""
    for _ in range(scene.one.rng.randint(1, 5)):
        scene.wire.cut()
        await asyncio.sleep(0.3)


async def postgres_slow(scene: Scene) -> None:
    """A tenth of a second for each answer."""
    scene.wire.delay = 0.1
    await asyncio.sleep(scene.seconds)
    scene.wire.delay = 0.0


async def broker_killed(scene: Scene) -> None:
    """By SIGKILL."""
    scene.one.stage.world.servers.kafka.kill()
    await asyncio.sleep(scene.seconds / 3)
    await scene.one.stage.world.servers.kafka.start()


async def broker_halted(scene: Scene) -> None:
    """It keeps its connections and answers nothing."""
    scene.one.stage.world.servers.kafka.pause()
    await asyncio.sleep(scene.seconds)
    scene.one.stage.world.servers.kafka.resume()


async def table_locked(scene: Scene) -> None:
    """A foreign session holds all rows of the keys."""
    foreign = await asyncpg.connect(scene.one.stage.database_url)
    try:
        async with foreign.transaction():
            await foreign.execute("LOCK TABLE project_key IN EXCLUSIVE MODE")
            await asyncio.sleep(scene.seconds / 2)
    finally:
        await foreign.close()


Harm = Callable[[Scene], Awaitable[None]]

HARMS: Final[tuple[Harm, ...]] = (
    replica_killed,
    replica_stopped,
    replica_halted,
    postgres_killed,
    postgres_stopped,
    postgres_silent,
    postgres_cut,
    postgres_slow,
    broker_killed,
    broker_halted,
    table_locked,
)
