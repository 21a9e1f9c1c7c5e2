"""E4: a standby is promoted; the old primary keeps running, read-only, with all its connections."""

from typing import Final
from uuid import uuid4

import asyncpg

from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from faults.standby import Standby
from testkit.proxy import proxy

_RECOVERY_BOUND: Final = 30.0
_READ_ONLY: Final = "ReadOnlySQLTransactionError"
_POOL_SIZE: Final = 10


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Writes succeed within seconds without a restart; replication is synchronous, so nothing acknowledged is lost.

    Only new connections reach the standby, as after a change of a DNS name or a virtual address.
    """
    async with (
        proxy(servers.postgres_port) as postgres_proxy,
        new_experiment(servers, plan, postgres_proxy=postgres_proxy) as experiment,
    ):
        standby = Standby(servers, servers.directory / f"standby-{uuid4().hex}")
        try:
            await standby.start()
            await _alter_primary(servers, "synchronous_standby_names", "'*'")
            await standby.until_synchronous()
            async with experiment.under_load():
                await experiment.load.wait_for_acknowledged(50)
                await _alter_primary(servers, "default_transaction_read_only", "on")
                await standby.promote()
                postgres_proxy.target = standby.port
                seconds = await experiment.load.wait_for_acknowledged(1, timeout=60)
                experiment.expect_within(seconds, _RECOVERY_BOUND, "the first success after the failover")
                await experiment.load.wait_for_acknowledged(100)
            experiment.metrics["first success after"] = f"{seconds:.1f} s"
            _check_read_only_errors(experiment)
            url = experiment.deployment.database_url
            experiment.deployment.database_url = url.replace(f":{servers.postgres_port}/", f":{standby.port}/")
            return await experiment.check(duplicates=2 * BATCH)
        finally:
            for replica in experiment.replicas:
                replica.kill()
            standby.kill()
            await _alter_primary(servers, "synchronous_standby_names", "''")
            await _alter_primary(servers, "default_transaction_read_only", "off")


async def _alter_primary(servers: SharedServers, setting: str, value: str) -> None:
    """Change a setting for all sessions, existing ones included."""
    connection = await asyncpg.connect(servers.postgres.url)
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute(f"ALTER SYSTEM SET {setting} = {value}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


def _check_read_only_errors(experiment: Experiment) -> None:
    """Each connection of the pool gets the error at most once and is then replaced."""
    errors = sum(_READ_ONLY in line for line in experiment.deployment.log_lines())
    experiment.metrics["read-only errors"] = str(errors)
    bound = 3 * len(experiment.replicas) * _POOL_SIZE
    experiment.expect(errors <= bound, f"{errors} statements failed as read-only, more than {bound}")
