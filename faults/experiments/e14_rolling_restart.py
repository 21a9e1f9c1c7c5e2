"""E14: three replicas are replaced one after the other, behind a load balancer that is updated late.

The first round begins with the migration of a release that only adds to the schema. From then on each start is a
roll-back: this program migrates, as an init container does, and starts on a schema that is newer than it knows.
"""

import asyncio
import signal
import time
from typing import Final

import asyncpg

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.load import LoadProfile
from faults.load_balancer import LoadBalancer, load_balancer
from faults.shared_servers import SharedServers
from projectkeys_servers.ports import free_port
from service.postgres.migrate import migrate
from service.postgres.migration_files import Migration, known_migrations
from testkit.replica import Replica

_REPLICAS: Final = 3
_UPDATE_DELAY: Final = 5.0
"""Seconds from SIGTERM until the load balancer sends no more connections to the replica."""

_SHUTDOWN_DELAY: Final = 7.0
"""Seconds of SHUTDOWN_DELAY: more than the load balancer needs."""

_STOP_BOUND: Final = 30.0

_NEXT_RELEASE: Final = (
    Migration("9998_next_release", "ALTER TABLE project_key ADD COLUMN next_release text NOT NULL DEFAULT '';"),
    Migration(
        "9999_next_release",
        "-- migrate: no transaction\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS next_release_key ON project_key (next_release);\n",
    ),
)
"""What a later release could add."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """No request fails, on existing connections or on new ones; each stop ends with status 0 in time."""
    update_delay, delay = (0.7, 1.5) if plan.short else (_UPDATE_DELAY, _SHUTDOWN_DELAY)
    profile = LoadProfile(clients=8, interval=0.02, reconnect=True)
    replicas = 2 if plan.short else _REPLICAS
    async with new_experiment(
        servers, plan, replicas=replicas, profile=profile, SHUTDOWN_DELAY=str(delay)
    ) as experiment:
        targets = [replica.port for replica in experiment.replicas]
        async with load_balancer(free_port(), targets, experiment.rng) as balancer:
            experiment.load.ports = [balancer.port]
            longest = 0.0
            async with experiment.under_load():
                for number in range(plan.rounds):
                    experiment.report_round(number)
                    if number == 0:
                        await _migrate(experiment, *_NEXT_RELEASE)
                    for replica in experiment.replicas:
                        longest = max(longest, await _replace(experiment, balancer, replica, update_delay))
        experiment.expect_no_failures()
        experiment.metrics["requests"] = str(len(experiment.load.calls))
        experiment.metrics["failed"] = str(len(experiment.load.failed_since(0)))
        experiment.metrics["longest stop"] = f"{longest:.1f} s"
        # An orderly handover explains no copies.
        return await experiment.check(duplicates=0)


async def _migrate(experiment: Experiment, *further: Migration) -> None:
    connection = await asyncpg.connect(experiment.deployment.database_url)
    try:
        await migrate(connection, wait=60, migrations=[*known_migrations(), *further])
    finally:
        await connection.close()


async def _replace(experiment: Experiment, balancer: LoadBalancer, replica: Replica, update_delay: float) -> float:
    began = time.monotonic()
    replica.process.signal(signal.SIGTERM)
    await asyncio.sleep(update_delay)
    balancer.targets.remove(replica.port)
    status = await replica.process.wait_for_exit(timeout=_STOP_BOUND)
    seconds = time.monotonic() - began
    experiment.expect(status == 0, f"a stop ended with status {status} after {seconds:.1f} s")
    await _migrate(experiment)
    replica.start()
    await replica.wait_until_ready()
    balancer.targets.append(replica.port)
    await experiment.load.wait_for_acknowledged(20)
    return seconds
