"""E5: the connection to Postgres breaks at COMMIT, before or after the server received it."""

import asyncio
import random
import re
from typing import Final

from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Action, Outcome
from faults.load import LoadProfile
from faults.shared_servers import SharedServers
from testkit.proxy import Cut, proxy

_CUTS_PER_ROUND: Final = 100
_SHARE: Final = 0.2
"""Share of all commits that are cut; some writes are hit twice."""

_MIN_SUCCESS: Final = 0.99
_PREPARES: Final = re.compile(rb"P.{4}([^\0]+)\0[^\0]*INSERT INTO project_key", re.DOTALL)


class CommitCutter:
    """Cuts connections at a commit, alternately before and after the delivery.

    A commit is a COMMIT, or a prepared statement that is a transaction of its own: a batch of creations.
    """

    def __init__(self, rng: random.Random, wanted: int) -> None:
        self._rng = rng
        self._wanted = wanted
        self.cuts: list[Cut] = []

    def inspect(self, chunk: bytes, notes: set[bytes]) -> Cut | None:
        """Return how to cut; ``notes`` are the names of prepared statements that commit on their own."""
        if prepared := _PREPARES.search(chunk):
            notes.add(prepared[1])
            return None
        commits = b"COMMIT;" in chunk or any(b"\0" + name + b"\0" in chunk for name in notes)
        if not commits or len(self.cuts) >= self._wanted or self._rng.random() > _SHARE:
            return None
        self.cuts.append(Cut.UNANSWERED if len(self.cuts) % 2 else Cut.UNDELIVERED)
        return self.cuts[-1]


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Each change happens exactly once, with or without an idempotency key, and its client gets a success."""
    wanted = 20 if plan.short else plan.rounds * _CUTS_PER_ROUND
    profile = LoadProfile(clients=16)
    async with (
        proxy(servers.postgres_port) as postgres_proxy,
        new_experiment(servers, plan, postgres_proxy=postgres_proxy, profile=profile) as experiment,
    ):
        cutter = CommitCutter(experiment.rng, wanted)
        async with experiment.under_load():
            postgres_proxy.inspect = cutter.inspect
            while len(cutter.cuts) < wanted:
                acknowledged = experiment.load.acknowledged
                experiment.report(f"{len(cutter.cuts)} of {wanted} cuts, {acknowledged} acknowledged")
                await experiment.load.wait_for_acknowledged(200, timeout=60)
            await asyncio.sleep(1)
        _check_responses(experiment, cutter)
        return await experiment.check(duplicates=wanted * BATCH)


def _check_responses(experiment: Experiment, cutter: CommitCutter) -> None:
    failed, calls = experiment.load.failed_since(0), experiment.load.calls
    success = 1 - len(failed) / len(calls)
    experiment.expect(success >= _MIN_SUCCESS, f"{success:.2%} succeeded: {failed[:2]}")
    without_key = sum(
        call.action is Action.CREATE and call.outcome is Outcome.OK and not call.idempotency_key for call in calls
    )
    experiment.metrics["cuts"] = f"{len(cutter.cuts)} ({cutter.cuts.count(Cut.UNANSWERED)} of them delivered)"
    experiment.metrics["creations without an idempotency key"] = str(without_key)
    experiment.metrics["success"] = f"{success:.2%}"
