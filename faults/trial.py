"""The frame of an experiment: replicas under load, faults, healing, and the verdict."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from faults.checker import Verdict, check
from faults.evidence import read_ledger, read_log
from faults.load import Load, Manner, NotHealedError, running
from faults.proxy import Proxy
from faults.replica import FaultError, Replica
from faults.stage import Stage, stage
from faults.violation import Violation
from faults.world import World

HEALED_WITHIN: Final = 60.0
"""Seconds after the last fault within which everything has to converge."""

_SHORT_PATIENCE: Final = 5

BATCH: Final = 400
"""Records of one shard that may be on their way when a fault strikes, and come twice."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an experiment is run: its seed, how many rounds, and whether each is cut short."""

    seed: int = 1
    rounds: int = 1
    short: bool = False


@dataclass(slots=True)
class Figures:
    """What an experiment found; ``own`` are figures of its own by name, ``violations`` its failures."""

    verdict: Verdict
    seconds: float = 0.0
    drain: float = 0.0
    availability: float = 1.0
    own: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)


@dataclass(slots=True)
class Trial:
    """An experiment under way.

    Attributes:
        bounds: What the experiment's own bounds were broken by.
        own: Its own figures.
    """

    stage: Stage
    load: Load
    rng: random.Random
    plan: Plan
    began: float = field(default_factory=time.monotonic)
    bounds: list[Violation] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)

    @property
    def replicas(self) -> list[Replica]:
        """Those of the stage."""
        return self.stage.replicas

    def expect(self, holds: bool, what: str) -> None:  # noqa: FBT001 -- reads as an assertion
        """Keep that a bound of this experiment was broken."""
        if not holds:
            self.bounds.append(Violation("bound", what))

    def expect_within(self, took: float, bound: float, what: str) -> None:
        """Keep that something took more than its bound; a short run shares its machine with a whole test run."""
        patience = _SHORT_PATIENCE if self.plan.short else 1
        self.expect(took <= bound * patience, f"{what}: {took:.2f} s, at most {bound:g} s are right")

    def say(self, what: str) -> None:
        """Tell whoever watches."""
        self.stage.world.say(what)

    async def judged(self, *, duplicates: int, tolerant: bool = False) -> Figures:
        """Wait until everything is drained and judge it; the load has ended.

        Args:
            duplicates: How many copies the faults explain.
            tolerant: Answers of 500 are what the experiment is about.
        """
        seconds = time.monotonic() - self.began
        drain = await drained(self.stage.database_url)
        verdict = check(
            self.load.calls,
            await read_ledger(self.stage.database_url),
            await read_log(self.stage.world.bootstrap, self.stage.topic),
            duplicates_allowed=duplicates,
            texts=self.stage.logs(),
            tokens=[self.stage.token],
        )
        asked = len(self.load.calls) or 1
        complaints = [] if tolerant else _complaints(self.replicas)
        found = [*self.bounds, *verdict.violations, *complaints]
        return Figures(verdict, seconds, drain, 1 - verdict.unavailable / asked, self.own, found)


def _complaints(replicas: Sequence[Replica]) -> list[Violation]:
    """Answers of 500 and faults of the publisher are bugs whatever the fault was."""
    bad = ('"event":"request_failed"', '"work":"publisher"')
    return [
        Violation("bound", f"a replica wrote {line[:300]}")
        for one in replicas
        if one.log.exists()
        for line in one.log.read_text(errors="replace").splitlines()
        if any(mark in line for mark in bad)
    ][:5]


async def drained(url: str) -> float:
    """Wait until all that is in the outbox now is published; returns the seconds that took, or the bound.

    Parked rows are waited for too: no experiment parks any.
    """
    began = time.monotonic()
    connection = await asyncpg.connect(url, timeout=10)
    try:
        newest = await connection.fetchval("SELECT coalesce(max(seq), 0) FROM outbox")
        while time.monotonic() - began < HEALED_WITHIN:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE seq <= $1)", newest):
                break
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    return time.monotonic() - began


@asynccontextmanager
async def trial(
    world: World,
    plan: Plan,
    *,
    replicas: int = 2,
    manner: Manner | None = None,
    wire: Proxy | None = None,
    topic: bool = True,
    **settings: str,
) -> AsyncIterator[Trial]:
    """Replicas that share the shards, not yet under load.

    Args:
        world: The servers.
        plan: The seed and the rounds.
        replicas: How many there are.
        manner: How they are asked.
        wire: Stands between them and Postgres.
        topic: Whether there is one.
        **settings: Of the replicas, beside the usual ones.
    """
    rng = random.Random(plan.seed)
    async with stage(world, rng, topic=topic) as made:
        if wire is not None:
            settings = {"DATABASE_URL": through(wire, made.database_url), **settings}
        for _ in range(replicas):
            made.replica(**settings).start()
        for one in made.replicas:
            await one.ready()
        if replicas:
            await shared(made.replicas)
        ports = [one.port for one in made.replicas]
        load = Load(str(plan.seed), ports, made.tenants, made.token, manner or Manner())
        yield Trial(made, load, rng, plan)


def through(wire: Proxy, url: str) -> str:
    """A database's URL by way of a proxy."""
    return re.sub(r":\d+/", f":{wire.port}/", url)


@asynccontextmanager
async def under_load(one: Trial) -> AsyncIterator[Load]:
    """The callers, for the time of the block, after a moment of peace."""
    async with running(one.load) as load:
        await load.grows(30)
        yield load


async def shared(replicas: Sequence[Replica], *, within: float = 30.0) -> float:
    """Wait until every shard has an owner and each replica its part; returns the seconds that took.

    Raises:
        NotHealedError: it does not come to that.
    """
    began, parts = time.monotonic(), {12 // len(replicas), -(-12 // len(replicas))}
    while time.monotonic() - began < within:
        try:
            owned = [(await one.metrics()).get("shards_owned", 0) for one in replicas]
        except FaultError:
            owned = []
        if sum(owned) == 12 and set(owned) <= parts:  # noqa: PLR2004 -- the number of shards
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise NotHealedError(f"the shards are not shared after {within:g} s: {owned}")
