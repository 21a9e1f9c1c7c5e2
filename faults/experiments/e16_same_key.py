"""E16: fifty callers send the same idempotency key to two replicas at once; others change and delete one key."""

import asyncio
from typing import Final

from faults.history import Action, Call, Outcome
from faults.http import Line
from faults.trial import Figures, Plan, Trial, trial
from faults.world import World

_CALLERS: Final = 50
_RACERS: Final = 12
_CONFLICT: Final = 409
_GONE: Final = 404


async def run(world: World, plan: Plan) -> Figures:
    """One key is made, whoever is quicker; the others are told of it or to come again; never a 5xx."""
    async with trial(world, plan) as one:
        lines = [Line(one.replicas[number % 2].port) for number in range(_CALLERS)]
        made = 0
        rounds = 5 if plan.short else plan.rounds
        for number in range(rounds):
            if number % 50 == 0:
                one.say(f"round {number + 1} of {rounds}")
            made += await _same_key(one, lines, number)
            await _races(one, lines, number)
        for line in lines:
            line.close()
        one.own["keys made"] = f"{made} of {rounds}"
        failed = one.load.unknown_since(0)
        one.expect(not failed, f"{len(failed)} calls failed: {failed[:2]}")
        return await one.judged(duplicates=0)


async def _same_key(one: Trial, lines: list[Line], number: int) -> int:
    tenant = one.rng.choice(one.stage.tenants)
    label = f"{one.plan.seed}-same-{number}"
    calls = await asyncio.gather(
        *(one.load.call([line], Action.CREATE, tenant, label=label, once=label) for line in lines)
    )
    good = [call for call in calls if call.outcome is Outcome.OK]
    keys = {call.key for call in good}
    one.expect(len(keys) == 1, f"the idempotency key {label} made {len(keys)} keys")
    others = {call.status for call in calls if call.outcome is not Outcome.OK}
    one.expect(others <= {_CONFLICT}, f"the others were answered by {others}")
    return len(keys)


async def _races(one: Trial, lines: list[Line], number: int) -> None:
    tenant = one.rng.choice(one.stage.tenants)
    label = f"{one.plan.seed}-race-{number}"
    key = (await one.load.call(lines[:1], Action.CREATE, tenant, label=label)).key
    chosen = one.rng.randrange(_RACERS)

    async def race(racer: int) -> Call:
        line = lines[racer : racer + 1]
        if racer == chosen:
            return await one.load.call(line, Action.DELETE, tenant, key=key)
        return await one.load.call(line, Action.UPDATE, tenant, label=f"{label}-{racer}", key=key)

    calls = await asyncio.gather(*map(race, range(_RACERS)))
    one.expect(calls[chosen].outcome is Outcome.OK, f"the deletion was answered by {calls[chosen].status}")
    wrong = {call.status for call in calls if call.outcome is not Outcome.OK} - {_GONE}
    one.expect(not wrong, f"a race was answered by {wrong}")
