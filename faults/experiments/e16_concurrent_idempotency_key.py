"""E16: fifty clients send the same idempotency key to two replicas at once; others change and delete one key."""

import asyncio
from typing import Final

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Action, Call, Outcome
from faults.shared_servers import SharedServers
from testkit.http_client import HttpConnection

_CLIENTS: Final = 50
_CONCURRENT_CHANGES: Final = 12
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Exactly one key is created; the other clients get it or a 409; never a 5xx."""
    async with new_experiment(servers, plan) as experiment:
        ports = [replica.port for replica in experiment.replicas]
        connections = [HttpConnection(ports[number % 2]) for number in range(_CLIENTS)]
        created = 0
        rounds = 5 if plan.short else plan.rounds
        for number in range(rounds):
            if number % 50 == 0:
                experiment.report(f"round {number + 1} of {rounds}")
            created += await _create_with_one_key(experiment, connections, number)
            await _change_one_key(experiment, connections, number)
        for connection in connections:
            connection.close()
        experiment.metrics["keys created"] = f"{created} of {rounds}"
        experiment.expect_no_failures()
        return await experiment.check(duplicates=0)


async def _create_with_one_key(experiment: Experiment, connections: list[HttpConnection], number: int) -> int:
    tenant = experiment.rng.choice(experiment.deployment.tenants)
    label = f"{experiment.plan.seed}-same-{number}"
    calls = await asyncio.gather(
        *(
            experiment.load.call([connection], Action.CREATE, tenant, label=label, idempotency_key=label)
            for connection in connections
        )
    )
    keys = {call.key for call in calls if call.outcome is Outcome.OK}
    experiment.expect(len(keys) == 1, f"the idempotency key {label} created {len(keys)} keys")
    others = {call.status for call in calls if call.outcome is not Outcome.OK}
    experiment.expect(others <= {_CONFLICT}, f"the other clients got {others}")
    return len(keys)


async def _change_one_key(experiment: Experiment, connections: list[HttpConnection], number: int) -> None:
    tenant = experiment.rng.choice(experiment.deployment.tenants)
    label = f"{experiment.plan.seed}-race-{number}"
    key = (await experiment.load.call(connections[:1], Action.CREATE, tenant, label=label)).key
    deleting = experiment.rng.randrange(_CONCURRENT_CHANGES)

    async def change(client: int) -> Call:
        connection = connections[client : client + 1]
        if client == deleting:
            return await experiment.load.call(connection, Action.DELETE, tenant, key=key)
        return await experiment.load.call(connection, Action.UPDATE, tenant, label=f"{label}-{client}", key=key)

    calls = await asyncio.gather(*map(change, range(_CONCURRENT_CHANGES)))
    deletion = calls[deleting]
    experiment.expect(deletion.outcome is Outcome.OK, f"the deletion got {deletion.status}")
    wrong = {call.status for call in calls if call.outcome is not Outcome.OK} - {_NOT_FOUND}
    experiment.expect(not wrong, f"concurrent changes got {wrong}")
