"""E20: the database refuses one of the rows that a creation is made of, for one name, as a trigger tells it to."""

from typing import Final

import asyncpg

from faults.history import Action
from faults.http import Line
from faults.trial import Figures, Plan, Trial, trial, under_load
from faults.world import World

_MAGIC: Final = "magic name"
_CONDITIONS: Final = {
    "outbox": f"NEW.payload::text LIKE '%{_MAGIC}%'",
    "project_key": f"NEW.label LIKE '%{_MAGIC}%'",
    "audit_entry": f"NEW.data::text LIKE '%{_MAGIC}%'",
    "idempotency": f"NEW.key LIKE '%{_MAGIC.replace(' ', '-')}%'",
}
_TRIGGER: Final = """
    CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the row is refused'; END $$;
    CREATE TRIGGER refuses BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse();
"""


async def run(world: World, plan: Plan) -> Figures:
    """All of the creation is undone, its caller gets a 5xx, and those beside it notice nothing."""
    async with trial(world, plan) as one:
        async with under_load(one):
            for number in range(plan.rounds):
                for table, condition in _CONDITIONS.items():
                    await _refused(one, table, condition, number)
        others = [call for call in one.load.unknown_since(0) if _MAGIC not in call.label]
        one.expect(not others, f"{len(others)} neighbours failed: {others[:2]}")
        one.own["refused rows"] = str(len(_CONDITIONS) * plan.rounds)
        return await one.judged(duplicates=0, tolerant=True)


async def _refused(one: Trial, table: str, condition: str, number: int) -> None:
    connection = await asyncpg.connect(one.stage.database_url)
    line = Line(one.replicas[0].port)
    try:
        await connection.execute(_TRIGGER.format(table=table, condition=condition))
        label = f"{_MAGIC} {table} {number}"
        call = await one.load.call(
            [line], Action.CREATE, one.stage.tenants[0], label=label, once=label.replace(" ", "-")
        )
        one.expect(call.status in {500, 503}, f"a refused row of {table} was answered by {call.status}")
        await connection.execute(f"DROP TRIGGER refuses ON {table}")
        left = await connection.fetchval(_LEFT, f"%{label}%", f"%{label.replace(' ', '-')}%")
        one.expect(left == 0, f"a refused row of {table} left {left} others behind")
    finally:
        line.close()
        await connection.close()
    await one.load.grows(10)


_LEFT: Final = """
    SELECT (SELECT count(*) FROM project_key WHERE label LIKE $1)
         + (SELECT count(*) FROM audit_entry WHERE data::text LIKE $1)
         + (SELECT count(*) FROM outbox WHERE payload::text LIKE $1)
         + (SELECT count(*) FROM idempotency WHERE key LIKE $2)
"""
