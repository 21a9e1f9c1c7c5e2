"""E20: a trigger makes the database reject one of the rows of a creation, for one name."""

from typing import Final

import asyncpg

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Action
from faults.shared_servers import SharedServers
from testkit.http_client import HttpConnection

_REJECTED_NAME: Final = "magic name"
_CONDITIONS: Final = {
    "outbox": f"NEW.payload::text LIKE '%{_REJECTED_NAME}%'",
    "project_key": f"NEW.label LIKE '%{_REJECTED_NAME}%'",
    "audit_entry": f"NEW.data::text LIKE '%{_REJECTED_NAME}%'",
    "idempotency": f"NEW.key LIKE '%{_REJECTED_NAME.replace(' ', '-')}%'",
}
_CREATE_TRIGGER: Final = """
    CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the row is refused'; END $$;
    CREATE TRIGGER refuses BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse();
"""
_COUNT_ROWS: Final = """
    SELECT (SELECT count(*) FROM project_key WHERE label LIKE $1)
         + (SELECT count(*) FROM audit_entry WHERE data::text LIKE $1)
         + (SELECT count(*) FROM outbox WHERE payload::text LIKE $1)
         + (SELECT count(*) FROM idempotency WHERE key LIKE $2)
"""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """The whole creation is rolled back, its client gets a 5xx, and requests in the same batch succeed."""
    async with new_experiment(servers, plan) as experiment:
        async with experiment.under_load():
            for number in range(plan.rounds):
                for table, condition in _CONDITIONS.items():
                    await _reject_row(experiment, table, condition, number)
        others = [call for call in experiment.load.failed_since(0) if _REJECTED_NAME not in call.label]
        experiment.expect(not others, f"{len(others)} other requests failed: {others[:2]}")
        experiment.metrics["rejected rows"] = str(len(_CONDITIONS) * plan.rounds)
        return await experiment.check(duplicates=0, allow_server_errors=True)


async def _reject_row(experiment: Experiment, table: str, condition: str, number: int) -> None:
    session = await asyncpg.connect(experiment.deployment.database_url)
    connection = HttpConnection(experiment.replicas[0].port)
    try:
        await session.execute(_CREATE_TRIGGER.format(table=table, condition=condition))
        label = f"{_REJECTED_NAME} {table} {number}"
        idempotency_key = label.replace(" ", "-")
        call = await experiment.load.call(
            [connection],
            Action.CREATE,
            experiment.deployment.tenants[0],
            label=label,
            idempotency_key=idempotency_key,
        )
        experiment.expect(call.status in {500, 503}, f"a rejected row of {table}: status {call.status}")
        await session.execute(f"DROP TRIGGER refuses ON {table}")
        rows = await session.fetchval(_COUNT_ROWS, f"%{label}%", f"%{idempotency_key}%")
        experiment.expect(rows == 0, f"a rejected row of {table} left {rows} other rows")
    finally:
        connection.close()
        await session.close()
    await experiment.load.wait_for_acknowledged(10)
