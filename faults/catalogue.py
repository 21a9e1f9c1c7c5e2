"""All experiments, by their numbers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from faults.experiments import (
    e01_replica_killed,
    e02_dies_at_a_step,
    e03_postgres_killed,
    e04_failover,
    e05_commit_cut,
    e06_broker_away,
    e07_three_brokers,
    e08_cut_off,
    e09_zombie_owner,
    e10_disk_full,
    e11_clock_jumps,
    e12_pool_exhausted,
    e13_slow_clients,
    e14_rolling_restart,
    e15_topic_missing,
    e16_same_key,
    e17_overload,
    e18_soak,
    e20_insert_fails,
    e21_names_lost,
    e22_nonsense,
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
    "E2": Experiment("a replica dies at each of eight steps of a change's way", 3, e02_dies_at_a_step.run),
    "E3": Experiment("PostgreSQL is killed as a whole and started again", 10, e03_postgres_killed.run),
    "E4": Experiment("a standby is promoted, the old primary stays up", 1, e04_failover.run),
    "E5": Experiment(
        "the connection to PostgreSQL breaks at COMMIT, 100 times a round", 10, e05_commit_cut.run
    ),
    "E6": Experiment("the broker is halted for 30 s, then killed", 2, e06_broker_away.run),
    "E7": Experiment("of three brokers one is killed, then two", 1, e07_three_brokers.run),
    "E8": Experiment("Postgres and Kafka fall silent, refuse, reset and flap", 1, e08_cut_off.run),
    "E9": Experiment("a halted owner of shards wakes after its lease", 5, e09_zombie_owner.run),
    "E10": Experiment("the volume of PostgreSQL is full", 1, e10_disk_full.run),
    "E11": Experiment("the clock of one replica jumps by minutes and hours", 2, e11_clock_jumps.run),
    "E12": Experiment("a locked row holds all connections of the pool", 1, e12_pool_exhausted.run),
    "E13": Experiment("thousands of clients that never finish", 1, e13_slow_clients.run),
    "E14": Experiment(
        "three replicas are replaced behind a balancer that learns late", 5, e14_rolling_restart.run
    ),
    "E15": Experiment("the topic is missing, and is made later", 1, e15_topic_missing.run),
    "E16": Experiment("fifty callers with one idempotency key at two replicas", 200, e16_same_key.run),
    "E17": Experiment("ten times the callers that the service can serve", 1, e17_overload.run),
    "E18": Experiment("a fault chosen at random every 20 s; `make soak` does it for long", 9, e18_soak.run),
    "E20": Experiment("the database refuses a row of a creation", 5, e20_insert_fails.run),
    "E21": Experiment("the names of Postgres and Kafka cannot be resolved", 2, e21_names_lost.run),
    "E22": Experiment("10 000 nonsensical requests a round", 1, e22_nonsense.run),
}
