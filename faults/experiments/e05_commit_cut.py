"""E5: the connection to Postgres breaks at COMMIT, which the server has got or has not."""

import asyncio
import re
from typing import Final

from faults.history import Action, Outcome
from faults.load import Manner
from faults.proxy import Cut, proxy
from faults.stage import free_port
from faults.trial import BATCH, Figures, Plan, Trial, trial, under_load
from faults.world import World

_CUTS_A_ROUND: Final = 100
_SHARE: Final = 0.2
"""Of all commits; so now and then a write is hit twice."""

_GOOD: Final = 0.99
_PREPARES: Final = re.compile(rb"P.{4}([^\0]+)\0[^\0]*INSERT INTO project_key", re.DOTALL)


class Cutter:
    """Cuts commits in the one way and the other in turn.

    A commit is what ends a transaction, or the one statement that is a transaction by itself: creations that fly
    together.
    """

    def __init__(self, one: Trial, wanted: int) -> None:
        self._one = one
        self._wanted = wanted
        self.done: list[Cut] = []

    def watch(self, chunk: bytes, notes: set[bytes]) -> Cut | None:
        """Whether to cut; ``notes`` are the prepared statements that commit by themselves."""
        if prepared := _PREPARES.search(chunk):
            notes.add(prepared[1])
            return None
        commits = b"COMMIT;" in chunk or any(b"\0" + name + b"\0" in chunk for name in notes)
        if not commits or len(self.done) >= self._wanted or self._one.rng.random() > _SHARE:
            return None
        self.done.append(Cut.UNANSWERED if len(self.done) % 2 else Cut.UNDELIVERED)
        return self.done[-1]


async def run(world: World, plan: Plan) -> Figures:
    """Each change happens exactly once, with an idempotency key or without, and its caller is told that it did."""
    wanted = 20 if plan.short else plan.rounds * _CUTS_A_ROUND
    async with (
        proxy(free_port(world.directory), world.postgres_port) as wire,
        trial(world, plan, wire=wire, manner=Manner(callers=16)) as one,
    ):
        cutter = Cutter(one, wanted)
        async with under_load(one):
            wire.watch = cutter.watch
            while len(cutter.done) < wanted:
                one.say(f"{len(cutter.done)} of {wanted} cuts, {one.load.acknowledged} acknowledged")
                await one.load.grows(200, within=60)
            await asyncio.sleep(1)
        _judge_answers(one, cutter)
        return await one.judged(duplicates=wanted * BATCH)


def _judge_answers(one: Trial, cutter: Cutter) -> None:
    unknown = one.load.unknown_since(0)
    good = 1 - len(unknown) / len(one.load.calls)
    one.expect(good >= _GOOD, f"{good:.2%} were answered well: {unknown[:2]}")
    bare = sum(
        call.action is Action.CREATE and call.outcome is Outcome.OK and not call.once
        for call in one.load.calls
    )
    one.own["cuts"] = f"{len(cutter.done)} ({cutter.done.count(Cut.UNANSWERED)} of them delivered)"
    one.own["creations without a key"] = str(bare)
    one.own["answered well"] = f"{good:.2%}"
