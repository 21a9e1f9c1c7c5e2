"""E12: another session locks a row, and requests for that row hold all connections of the pool."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Action, Call, Outcome
from faults.shared_servers import SharedServers
from testkit.http_client import HttpConnection, NoResponseError, NotSentError, request
from testkit.replica import Replica

_CLIENTS: Final = 30
_REFUSAL_BOUND: Final = 1.5
_LOCK_BOUND: Final = 6.0
"""Seconds: a wait for a connection to read the key, another to change it, and the lock time-out."""

_LIVEZ_BOUND: Final = 0.1
_RECOVERY_BOUND: Final = 2.0
_UNAVAILABLE: Final = 503


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Excess requests get 503 soon; /livez responds at once; requests succeed after the lock is released."""
    async with new_experiment(servers, plan, replicas=1) as experiment:
        async with experiment.under_load():
            for number in range(plan.rounds):
                experiment.report_round(number)
                await _lock_row(experiment)
        return await experiment.check(duplicates=0)


async def _lock_row(experiment: Experiment) -> None:
    [replica] = experiment.replicas
    connection = HttpConnection(replica.port)
    tenant = experiment.deployment.tenants[0]
    created = await experiment.load.call([connection], Action.CREATE, tenant, label=_label(experiment))
    connection.close()
    deadline = time.monotonic() + (4.0 if experiment.plan.short else 60.0)
    async with _row_lock(experiment.deployment.database_url, created.key):
        tasks = [
            asyncio.create_task(_update_until(experiment, replica, created.key, deadline)) for _ in range(_CLIENTS)
        ]
        await _check_livez(experiment, replica, deadline)
        released_at = time.monotonic()
    seconds = await experiment.load.wait_for_acknowledged(20)
    experiment.expect_within(seconds, _RECOVERY_BOUND, "20 successes after the release of the lock")
    experiment.metrics["recovered after"] = f"{seconds:.2f} s"
    _check_responses(experiment, [call for task in tasks for call in await task], released_at)


@asynccontextmanager
async def _row_lock(url: str, key: str) -> AsyncIterator[None]:
    session = await asyncpg.connect(url)
    transaction = session.transaction()
    await transaction.start()
    await session.execute("SELECT FROM project_key WHERE public_key = $1 FOR UPDATE", key)
    try:
        yield
    finally:
        await transaction.rollback()
        await session.close()


def _label(experiment: Experiment) -> str:
    return f"locked-{experiment.rng.randrange(10**12)}"


async def _update_until(experiment: Experiment, replica: Replica, key: str, deadline: float) -> list[Call]:
    connection, calls = HttpConnection(replica.port), []
    tenant = experiment.deployment.tenants[0]
    while time.monotonic() < deadline:
        label = _label(experiment)
        calls.append(await experiment.load.call([connection], Action.UPDATE, tenant, label=label, key=key))
    connection.close()
    return calls


async def _check_livez(experiment: Experiment, replica: Replica, deadline: float) -> None:
    slowest = 0.0
    while time.monotonic() < deadline:
        began = time.monotonic()
        with suppress(NotSentError, NoResponseError):
            await request(replica.ops_port, "GET", "/livez")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.1)
    experiment.metrics["slowest /livez"] = f"{slowest * 1000:.0f} ms"
    experiment.expect_within(slowest, _LIVEZ_BOUND, "/livez")


def _check_responses(experiment: Experiment, calls: list[Call], released_at: float) -> None:
    blocked = [call for call in calls if call.ended < released_at]
    statuses = {call.status for call in blocked}
    experiment.expect(statuses <= {_UNAVAILABLE}, f"requests for a locked row got {sorted(statuses)}")
    refused = [call for call in blocked if "no connection" in call.reason or call.ended - call.began < _REFUSAL_BOUND]
    slowest = max((call.ended - call.began for call in blocked), default=0.0)
    experiment.expect_within(slowest, _LOCK_BOUND, "a request for the locked row")
    succeeded = [call for call in experiment.load.calls if call.outcome is Outcome.OK]
    experiment.metrics["got 503"] = f"{len(blocked)}, {len(refused)} of them within {_REFUSAL_BOUND:g} s"
    experiment.expect(bool(refused) and bool(succeeded), "no excess request was refused soon")
