"""E21: the names of Postgres and Kafka cannot be resolved for some time."""

import asyncio
import os
import re
import time
from typing import Final

from faults.errors import ExperimentError
from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment, url_via
from faults.shared_servers import SharedServers
from testkit.proxy import Proxy, proxy

_RECOVERY_BOUND: Final = 30.0
_WITH_NAMES: Final = "127.0.0.1 localhost postgres.test kafka.test\n"
_WITHOUT_NAMES: Final = "127.0.0.1 localhost\n"
# Nothing listens there: each query fails at once.
_RESOLVER: Final = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Existing connections work; without them clients get 503 until the names can be resolved again."""
    if os.geteuid() != 0:
        raise ExperimentError("only root can run a replica with its own hosts file")
    async with (
        proxy(servers.postgres_port) as postgres_proxy,
        new_experiment(servers, plan, replicas=0) as experiment,
    ):
        hosts = experiment.deployment.directory / "hosts"
        hosts.write_text(_WITH_NAMES)
        await _start_replicas(experiment, postgres_proxy)
        async with experiment.under_load():
            for _ in range(plan.rounds):
                hosts.write_text(_WITHOUT_NAMES)
                began = time.monotonic()
                await experiment.load.wait_for_acknowledged(50)
                # A pool that grows now needs the name.
                failed = len(experiment.load.failed_since(began))
                experiment.metrics["failed on existing connections"] = str(failed)
                postgres_proxy.reset_connections()
                await asyncio.sleep(1 if plan.short else 10)
                hosts.write_text(_WITH_NAMES)
                await _wait_for_recovery(experiment)
        experiment.expect_only_503()
        return await experiment.check(duplicates=plan.rounds * 2 * BATCH)


async def _start_replicas(experiment: Experiment, postgres_proxy: Proxy) -> None:
    deployment = experiment.deployment
    resolver = deployment.directory / "resolver"
    resolver.write_text(_RESOLVER)
    url = re.sub(r"@[^:/]+:", "@postgres.test:", url_via(postgres_proxy, deployment.database_url))
    for _ in range(2):
        replica = deployment.add_replica(
            module=("faults.private_hosts", str(deployment.directory / "hosts"), str(resolver)),
            DATABASE_URL=url,
            KAFKA_BOOTSTRAP_SERVERS=deployment.servers.bootstrap_servers.replace("127.0.0.1", "kafka.test"),
        )
        replica.start()
        await replica.wait_until_ready()
    experiment.load.ports = [replica.port for replica in experiment.replicas]
    await experiment.wait_until_balanced()


async def _wait_for_recovery(experiment: Experiment) -> None:
    seconds = await experiment.load.wait_for_acknowledged(20, timeout=60)
    experiment.expect_within(seconds, _RECOVERY_BOUND, "20 successes after the names could be resolved")
    experiment.metrics["recovered after"] = f"{seconds:.1f} s"
    await experiment.wait_until_balanced()
