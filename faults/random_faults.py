"""Faults to choose from at random, each with its recovery, for the soak."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import asyncpg

from faults.experiment import Experiment
from testkit.processes import pause, resume
from testkit.proxy import Proxy
from testkit.replica import Replica


@dataclass(frozen=True, slots=True)
class FaultTargets:
    """What a fault can affect.

    Attributes:
        experiment: The experiment.
        postgres_proxy: The proxy in front of Postgres.
        victim: The replica that may be killed; the other one runs to the end.
    """

    experiment: Experiment
    postgres_proxy: Proxy
    victim: Replica

    def duration(self) -> float:
        """Return a random duration of a fault in seconds: up to more than a lease."""
        return self.experiment.rng.uniform(0.2, 6)


async def replica_killed(targets: FaultTargets) -> None:
    """Kill a replica by SIGKILL."""
    targets.victim.kill()
    await asyncio.sleep(targets.duration())
    targets.victim.start()


async def replica_stopped(targets: FaultTargets) -> None:
    """Stop a replica by SIGTERM."""
    status = await targets.victim.stop(timeout=30)
    targets.experiment.expect(status == 0, f"a stop ended with status {status}")
    targets.victim.start()


async def replica_paused(targets: FaultTargets) -> None:
    """Pause either replica, possibly for longer than its lease."""
    pid = targets.experiment.rng.choice(targets.experiment.replicas).process.pid
    pause(pid)
    await asyncio.sleep(targets.duration())
    resume(pid)


async def postgres_killed(targets: FaultTargets) -> None:
    """Kill PostgreSQL by SIGKILL."""
    targets.experiment.servers.postgres.kill()
    await asyncio.sleep(targets.duration() / 3)
    await targets.experiment.servers.postgres.start()


async def postgres_stopped(targets: FaultTargets) -> None:
    """Shut PostgreSQL down in immediate mode."""
    postgres = targets.experiment.servers.postgres
    os.kill(postgres.pid, signal.SIGQUIT)
    await asyncio.sleep(targets.duration() / 3)
    await postgres.stop()
    await postgres.start()


async def postgres_blocked(targets: FaultTargets) -> None:
    """Hold all data back without an error."""
    targets.postgres_proxy.block(to_server=targets.experiment.rng.random() < 0.5)  # noqa: PLR2004 -- one half
    await asyncio.sleep(targets.duration())
    targets.postgres_proxy.unblock()


async def postgres_reset(targets: FaultTargets) -> None:
    """Reset every connection several times."""
    for _ in range(targets.experiment.rng.randint(1, 5)):
        targets.postgres_proxy.reset_connections()
        await asyncio.sleep(0.3)


async def postgres_slow(targets: FaultTargets) -> None:
    """Delay each response by a tenth of a second."""
    targets.postgres_proxy.delay = 0.1
    await asyncio.sleep(targets.duration())
    targets.postgres_proxy.delay = 0.0


async def broker_killed(targets: FaultTargets) -> None:
    """Kill the broker by SIGKILL."""
    targets.experiment.servers.kafka.kill()
    await asyncio.sleep(targets.duration() / 3)
    await targets.experiment.servers.kafka.start()


async def broker_paused(targets: FaultTargets) -> None:
    """Pause the broker: it keeps its connections and does not respond."""
    pid = targets.experiment.servers.kafka.pid
    pause(pid)
    await asyncio.sleep(targets.duration())
    resume(pid)


async def table_locked(targets: FaultTargets) -> None:
    """Lock the table of the keys from another session."""
    session = await asyncpg.connect(targets.experiment.deployment.database_url)
    try:
        async with session.transaction():
            await session.execute("LOCK TABLE project_key IN EXCLUSIVE MODE")
            await asyncio.sleep(targets.duration() / 2)
    finally:
        await session.close()


Fault = Callable[[FaultTargets], Awaitable[None]]

FAULTS: Final[tuple[Fault, ...]] = (
    replica_killed,
    replica_stopped,
    replica_paused,
    postgres_killed,
    postgres_stopped,
    postgres_blocked,
    postgres_reset,
    postgres_slow,
    broker_killed,
    broker_paused,
    table_locked,
)
