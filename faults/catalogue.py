"""All experiments by their numbers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from faults.experiment import ExperimentResult, Plan
from faults.experiments import (
    e01_replica_killed,
    e02_crash_at_step,
    e03_postgres_killed,
    e04_failover,
    e05_connection_lost_at_commit,
    e06_broker_unavailable,
    e07_three_brokers,
    e08_network_faults,
    e09_paused_owner,
    e10_disk_full,
    e11_clock_jumps,
    e12_pool_exhausted,
    e13_slow_clients,
    e14_rolling_restart,
    e15_topic_missing,
    e16_concurrent_idempotency_key,
    e17_overload,
    e18_soak,
    e20_insert_rejected,
    e21_dns_failure,
    e22_malformed_requests,
    e23_edge_killed,
    e24_hostile_edge_requests,
    e25_usage_reader_killed,
    e26_life_of_keys,
    e27_previous_release,
)
from faults.shared_servers import SharedServers


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """An experiment: its summary, its default number of rounds, and the function that runs it."""

    summary: str
    rounds: int
    run: Callable[[SharedServers, Plan], Awaitable[ExperimentResult]]


EXPERIMENTS: Final[Mapping[str, CatalogueEntry]] = {
    "E1": CatalogueEntry("a replica is killed at a random time", 20, e01_replica_killed.run),
    "E2": CatalogueEntry("a replica crashes at each of eight steps of a change", 3, e02_crash_at_step.run),
    "E3": CatalogueEntry("PostgreSQL is killed and started again", 10, e03_postgres_killed.run),
    "E4": CatalogueEntry("a standby is promoted, the old primary keeps running", 1, e04_failover.run),
    "E5": CatalogueEntry(
        "the connection to PostgreSQL breaks at COMMIT, 100 times a round",
        10,
        e05_connection_lost_at_commit.run,
    ),
    "E6": CatalogueEntry("the broker is paused for 30 s, then killed", 2, e06_broker_unavailable.run),
    "E7": CatalogueEntry("of three brokers one is killed, then two", 1, e07_three_brokers.run),
    "E8": CatalogueEntry(
        "connections to Postgres and Kafka are blocked, refused, reset, and flap", 1, e08_network_faults.run
    ),
    "E9": CatalogueEntry("an owner of shards is paused for longer than its lease", 5, e09_paused_owner.run),
    "E10": CatalogueEntry("the disk of PostgreSQL is full", 1, e10_disk_full.run),
    "E11": CatalogueEntry("the clock of one replica jumps by minutes and hours", 2, e11_clock_jumps.run),
    "E12": CatalogueEntry("a locked row blocks all connections of the pool", 1, e12_pool_exhausted.run),
    "E13": CatalogueEntry("thousands of clients never complete a request", 1, e13_slow_clients.run),
    "E14": CatalogueEntry(
        "three replicas are upgraded across a migration and rolled back behind a late load balancer",
        20,
        e14_rolling_restart.run,
    ),
    "E15": CatalogueEntry("the topic does not exist and is created later", 1, e15_topic_missing.run),
    "E16": CatalogueEntry(
        "fifty clients send one idempotency key to two replicas", 200, e16_concurrent_idempotency_key.run
    ),
    "E17": CatalogueEntry("ten times the clients that the service can serve", 1, e17_overload.run),
    "E18": CatalogueEntry("a random fault every 20 s; `make soak` runs longer", 9, e18_soak.run),
    "E20": CatalogueEntry("the database rejects a row of a creation", 5, e20_insert_rejected.run),
    "E21": CatalogueEntry("the names of Postgres and Kafka cannot be resolved", 2, e21_dns_failure.run),
    "E22": CatalogueEntry("10 000 malformed requests a round", 1, e22_malformed_requests.run),
    "E23": CatalogueEntry("edges are killed; then the service and PostgreSQL are stopped", 20, e23_edge_killed.run),
    "E24": CatalogueEntry("10 000 hostile requests to the edge a round", 1, e24_hostile_edge_requests.run),
    "E25": CatalogueEntry("the process that counts outcomes is killed", 10, e25_usage_reader_killed.run),
    "E26": CatalogueEntry(
        "replicas crash at each step of rotations and expiries, one with a wrong clock",
        3,
        e26_life_of_keys.run,
    ),
    "E27": CatalogueEntry(
        "a million keys are migrated under load; release 0.1.0 runs before, beside and after this one",
        1,
        e27_previous_release.run,
    ),
}
