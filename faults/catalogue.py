"""All experiments, by their numbers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from faults.experiments import (
    e01_replica_killed,
    e03_postgres_killed,
    e05_commit_cut,
    e06_broker_away,
    e09_zombie_owner,
    e12_pool_exhausted,
    e16_same_key,
    e20_insert_fails,
)
from faults.trial import Figures, Plan
from faults.world import World


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is done, how often unless asked otherwise, and the function that does it."""

    summary: str
    rounds: int
    run: Callable[[World, Plan], Awaitable[Figures]]


EXPERIMENTS: Final[Mapping[str, Experiment]] = {
    "E1": Experiment("a replica is killed at a random moment", 20, e01_replica_killed.run),
    "E3": Experiment("PostgreSQL is killed as a whole and started again", 10, e03_postgres_killed.run),
    "E5": Experiment(
        "the connection to PostgreSQL breaks at COMMIT, 100 times a round", 10, e05_commit_cut.run
    ),
    "E6": Experiment("the broker is halted for 30 s, then killed", 2, e06_broker_away.run),
    "E9": Experiment("a halted owner of shards wakes after its lease", 5, e09_zombie_owner.run),
    "E12": Experiment("a locked row holds all connections of the pool", 1, e12_pool_exhausted.run),
    "E16": Experiment("fifty callers with one idempotency key at two replicas", 200, e16_same_key.run),
    "E20": Experiment("the database refuses a row of a creation", 5, e20_insert_fails.run),
}
