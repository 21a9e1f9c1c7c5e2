"""E27: a million keys are migrated under load; release 0.1.0 runs before, beside and after this one."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from faults.errors import ExperimentError
from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from service.postgres.migrate import migrate
from testkit.commits import RELEASE_0_1_0, extract_commit, read_file
from testkit.processes import Process
from testkit.replica import Replica

_KEYS: Final = 1_000_000
_SHORT_KEYS: Final = 50_000
_REQUESTS: Final = 300
"""Successful requests in each phase."""

_LOCK_BOUND: Final = 0.1
"""Seconds for which a request may wait for a lock of the migration."""

_LAST_RESPONSES: Final = 1.0
"""Seconds in which the requests in progress are completed, when no client sends further ones to a replica."""

_INSERT_KEYS: Final = """
    INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options)
    SELECT 1, 'bulk', md5('public ' || number), md5('secret ' || number),
           '{"hasReplay":true,"hasPerformance":true,"hasDebug":false,"hasFeedback":false,"hasLogsAndMetrics":false}'
    FROM generate_series(1, $1::integer) AS number
"""
_LONGEST_WAIT: Final = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float8
    FROM pg_locks
    WHERE NOT granted AND relation = 'project_key'::regclass
      AND mode IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
"""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """No request fails or waits long for a lock, and every event is published in order, whichever release runs."""
    schema = read_file(RELEASE_0_1_0, "schema.sql")
    async with new_experiment(servers, plan, replicas=0, schema=schema) as experiment:
        connection = await asyncpg.connect(experiment.deployment.database_url)
        source = experiment.deployment.directory / "release"
        source.mkdir()
        await asyncio.to_thread(extract_commit, RELEASE_0_1_0, source, "service", "schema.sql")
        await connection.execute(_INSERT_KEYS, _SHORT_KEYS if plan.short else _KEYS)
        add_replica = experiment.deployment.add_replica
        previous = [add_replica(PYTHONPATH=str(source)) for _ in range(2)]
        new = add_replica()
        experiment.load.ports = [replica.port for replica in experiment.replicas]
        experiment.load.excluded_ports.add(new.port)
        for replica in previous:
            await _start(experiment, replica)
        async with experiment.under_load():
            await _migrate(experiment, connection)
            await _run_migrate_of_release(experiment, source)
            await _start(experiment, new)
            await experiment.load.wait_for_acknowledged(_REQUESTS)
            await _stop(experiment, previous[0])
            await _start(experiment, previous[0])  # it becomes ready on the new schema
            await experiment.load.wait_for_acknowledged(_REQUESTS)
            await _stop(experiment, new)
            await experiment.load.wait_for_acknowledged(_REQUESTS)
        await connection.execute("DELETE FROM project_key WHERE label = 'bulk'")  # they have no events
        await connection.close()
        experiment.expect_no_failures()
        return await experiment.check(duplicates=0)


async def _start(experiment: Experiment, replica: Replica) -> None:
    replica.start()
    await replica.wait_until_ready()
    experiment.load.excluded_ports.discard(replica.port)


async def _stop(experiment: Experiment, replica: Replica) -> None:
    experiment.load.excluded_ports.add(replica.port)
    await asyncio.sleep(_LAST_RESPONSES)
    experiment.expect(await replica.stop(timeout=25) == 0, "a replica did not stop in time")


async def _migrate(experiment: Experiment, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with _longest_wait(experiment) as waits:
        names = await migrate(connection)
        await experiment.load.wait_for_acknowledged(_REQUESTS)
    experiment.metrics["migrations"] = str(len(names))
    experiment.metrics["longest wait for a lock"] = f"{max(waits) * 1e3:.0f} ms"
    experiment.expect_within(max(waits), _LOCK_BOUND, "the longest wait for a lock")


@asynccontextmanager
async def _longest_wait(experiment: Experiment) -> AsyncIterator[list[float]]:
    """Read the longest wait of a request for a lock of the table again and again during the block."""
    waits = [0.0]

    async def watch() -> None:
        connection = await asyncpg.connect(experiment.deployment.database_url)
        try:
            while True:
                waits.append(await connection.fetchval(_LONGEST_WAIT))
                await asyncio.sleep(0.005)
        finally:
            connection.terminate()

    task = asyncio.create_task(watch())
    try:
        yield waits
    finally:
        task.cancel()


async def _run_migrate_of_release(experiment: Experiment, source: Path) -> None:
    environment = {"PYTHONPATH": str(source), "DATABASE_URL": experiment.deployment.database_url}
    output = experiment.deployment.directory / "migrate"
    process = Process([sys.executable, "-m", "service", "migrate"], environment=environment, output=output)
    if await process.wait_for_exit(timeout=30) != 0:
        raise ExperimentError(f"`migrate` of release 0.1.0 failed: {output.read_text()}")
