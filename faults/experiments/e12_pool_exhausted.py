"""E12: a foreign session holds a row's lock, and whoever wants that row holds a connection of the pool."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import asyncpg

from faults.history import Action, Call, Outcome
from faults.http import Line, NoAnswerError, NobodyThereError, ask
from faults.replica import Replica
from faults.trial import Figures, Plan, Trial, trial, under_load
from faults.world import World

_RIVALS: Final = 30
_EXCESS_WITHIN: Final = 1.5
_LOCK_WITHIN: Final = 6.0
"""Seconds: a turn at the pool to look the key up, another to change it, and the lock's time-out."""

_HEALTHY_WITHIN: Final = 0.1
_RECOVERED_WITHIN: Final = 2.0
_UNAVAILABLE: Final = 503


async def run(world: World, plan: Plan) -> Figures:
    """The excess is told to come again, soon; /livez answers at once; everything is well when the lock is gone."""
    async with trial(world, plan, replicas=1) as one:
        async with under_load(one):
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                await _round(one)
        return await one.judged(duplicates=0)


async def _round(one: Trial) -> None:
    [replica] = one.replicas
    line = Line(replica.port)
    key = (await one.load.call([line], Action.CREATE, one.stage.tenants[0], label=_label(one))).key
    line.close()
    foreign = await asyncpg.connect(one.stage.database_url)
    transaction = foreign.transaction()
    await transaction.start()
    await foreign.execute("SELECT FROM project_key WHERE public_key = $1 FOR UPDATE", key)
    seconds = 4.0 if one.plan.short else 60.0
    ends = time.monotonic() + seconds
    rivals = [asyncio.create_task(_rival(one, replica, key, ends)) for _ in range(_RIVALS)]
    await _watch_health(one, replica, ends)
    released = time.monotonic()
    await transaction.rollback()
    await foreign.close()
    await one.load.grows(20)
    took = time.monotonic() - released
    one.expect_within(took, _RECOVERED_WITHIN, "20 good answers after the lock was gone")
    one.own["recovered after"] = f"{took:.2f} s"
    _judge(one, [call for rival in rivals for call in await rival], released)


def _label(one: Trial) -> str:
    return f"locked-{one.rng.randrange(10**12)}"


async def _rival(one: Trial, replica: Replica, key: str, ends: float) -> list[Call]:
    line, calls = Line(replica.port), []
    while time.monotonic() < ends:
        calls.append(
            await one.load.call([line], Action.UPDATE, one.stage.tenants[0], label=_label(one), key=key)
        )
    line.close()
    return calls


async def _watch_health(one: Trial, replica: Replica, ends: float) -> None:
    slowest = 0.0
    while time.monotonic() < ends:
        began = time.monotonic()
        with suppress(NobodyThereError, NoAnswerError):
            await ask(replica.ops_port, "GET", "/livez")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.1)
    one.own["slowest /livez"] = f"{slowest * 1000:.0f} ms"
    one.expect_within(slowest, _HEALTHY_WITHIN, "/livez")


def _judge(one: Trial, calls: list[Call], released: float) -> None:
    held = [call for call in calls if call.ended < released]
    one.expect(
        all(call.status == _UNAVAILABLE for call in held),
        f"a locked row was answered by {sorted({call.status for call in held})}",
    )
    excess = [
        call for call in held if "no connection" in call.reason or call.ended - call.began < _EXCESS_WITHIN
    ]
    slowest = max((call.ended - call.began for call in held), default=0.0)
    one.expect_within(slowest, _LOCK_WITHIN, "a caller of the locked row")
    good = [call for call in one.load.calls if call.outcome is Outcome.OK]
    one.own["told to come again"] = f"{len(held)}, {len(excess)} of them within {_EXCESS_WITHIN:g} s"
    one.expect(bool(excess) and bool(good), "nobody was told soon")
