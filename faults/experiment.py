"""The frame of an experiment: replicas under load, faults, recovery, and the verdict."""

import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from faults.checker import Verdict, check
from faults.deployment import PARTITIONS, Deployment, new_deployment
from faults.errors import NotRecoveredError
from faults.evidence import read_postgres, read_topic
from faults.load import Load, LoadProfile, run_load
from faults.shared_servers import SharedServers
from faults.violation import Violation
from testkit.polling import poll_until
from testkit.proxy import Proxy
from testkit.replica import Replica, ReplicaError

RECOVERY_TIMEOUT: Final = 60.0
"""Seconds after the last fault within which everything has to be published."""

SHORT_TOLERANCE: Final = 5
"""Factor for the time bounds of a short run, which shares its machine with other tests."""

_UNEXPECTED_EVENTS: Final = ('"event":"request_failed"', '"work":"publisher"')
_MAX_UNEXPECTED: Final = 5

BATCH: Final = 400
"""Records of one shard that can be unacknowledged when a fault happens, and are then published twice."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run an experiment: the seed, the number of rounds, and whether each is shortened."""

    seed: int = 1
    rounds: int = 1
    short: bool = False


@dataclass(slots=True)
class ExperimentResult:
    """The verdict, times in seconds, metrics of this experiment by name, and all violations."""

    verdict: Verdict
    seconds: float = 0.0
    drain: float = 0.0
    availability: float = 1.0
    metrics: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)


@dataclass(slots=True)
class Experiment:
    """A running experiment.

    Attributes:
        bound_violations: Exceeded bounds of this experiment.
        metrics: Metrics of this experiment by name.
    """

    deployment: Deployment
    load: Load
    rng: random.Random
    plan: Plan
    began: float = field(default_factory=time.monotonic)
    bound_violations: list[Violation] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> SharedServers:
        """The servers of the deployment."""
        return self.deployment.servers

    @property
    def replicas(self) -> list[Replica]:
        """The replicas of the deployment."""
        return self.deployment.replicas

    def expect(self, holds: bool, details: str) -> None:  # noqa: FBT001 -- reads as an assertion
        """Record a violation unless a condition of this experiment holds."""
        if not holds:
            self.bound_violations.append(Violation("bound", details))

    def expect_within(self, seconds: float, bound: float, what: str) -> None:
        """Record a violation if something took longer than its bound."""
        tolerance = SHORT_TOLERANCE if self.plan.short else 1
        self.expect(seconds <= bound * tolerance, f"{what}: {seconds:.2f} s, the bound is {bound:g} s")

    def expect_no_failures(self) -> None:
        """Record a violation if a request had no response or a 5xx."""
        failed = self.load.failed_since(0)
        self.expect(not failed, f"{len(failed)} requests failed: {failed[:2]}")

    def expect_only_503(self) -> None:
        """Record a violation if a request failed otherwise than with 503."""
        failed = [call for call in self.load.failed_since(0) if call.status != 503]  # noqa: PLR2004 -- an HTTP status
        self.expect(not failed, f"{len(failed)} requests failed without a 503: {failed[:2]}")

    def report(self, message: str) -> None:
        """Report progress."""
        self.servers.report(message)

    def report_round(self, number: int, details: str = "") -> None:
        """Report that a round starts; ``number`` counts from 0."""
        where = f"round {number + 1} of {self.plan.rounds}{details and f', {details}'}"
        self.report(f"{where}, {self.load.acknowledged} acknowledged")

    async def check(self, *, duplicates: int, allow_server_errors: bool = False) -> ExperimentResult:
        """Wait until all events are published and check the invariants; the load must have ended.

        Args:
            duplicates: The number of copies that the faults explain.
            allow_server_errors: Whether responses with 500 are part of the experiment.
        """
        seconds = time.monotonic() - self.began
        drain = await self.wait_until_published()
        verdict = check(
            self.load.calls,
            await read_postgres(self.deployment.database_url),
            await read_topic(self.servers.bootstrap_servers, self.deployment.topic),
            duplicates_allowed=duplicates,
            texts=self.deployment.log_lines(),
            tokens=[self.deployment.token],
        )
        unexpected = [] if allow_server_errors else _unexpected_log_events(self.deployment)
        violations = [*self.bound_violations, *verdict.violations, *unexpected]
        availability = 1 - verdict.unavailable / (len(self.load.calls) or 1)
        return ExperimentResult(verdict, seconds, drain, availability, self.metrics, violations)

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[Load]:
        """Run the load during the block, which starts after some acknowledged changes without faults."""
        async with run_load(self.load) as load:
            await load.wait_for_acknowledged(30)
            yield load

    async def wait_until_published(self) -> float:
        """Wait until the events that are now in the outbox are published; return the seconds, or the bound.

        This includes parked rows: no experiment parks any.
        """
        started_at = time.monotonic()
        connection = await asyncpg.connect(self.deployment.database_url, timeout=10)
        try:
            newest = await connection.fetchval("SELECT coalesce(max(seq), 0) FROM outbox")

            async def is_published() -> bool:
                pending = "SELECT EXISTS (SELECT FROM outbox WHERE seq <= $1)"
                waited = time.monotonic() - started_at
                return waited > RECOVERY_TIMEOUT or not await connection.fetchval(pending, newest)

            await poll_until(is_published, timeout=2 * RECOVERY_TIMEOUT, interval=0.02)
        finally:
            await connection.close()
        return time.monotonic() - started_at

    async def wait_until_balanced(self, *, timeout: float = 30.0) -> float:
        """Wait until every shard has an owner and each replica owns its part; return the seconds.

        Raises:
            NotRecoveredError: This is not the case after ``timeout`` seconds.
        """
        started_at = time.monotonic()
        parts = {PARTITIONS // len(self.replicas), -(-PARTITIONS // len(self.replicas))}
        owned: list[float] = []

        async def is_balanced() -> bool:
            try:
                owned[:] = [(await replica.metrics()).get("shards_owned", 0) for replica in self.replicas]
            except ReplicaError:
                owned.clear()
            return sum(owned) == PARTITIONS and set(owned) <= parts

        await poll_until(
            is_balanced,
            timeout=timeout,
            interval=0.05,
            error=lambda: NotRecoveredError(f"the shards are not balanced after {timeout:g} s: {owned}"),
        )
        return time.monotonic() - started_at


def _unexpected_log_events(deployment: Deployment) -> list[Violation]:
    """Responses with 500 and failures of the publisher are bugs, whatever the fault was."""
    return [
        Violation("bound", f"a replica logged {line[:300]}")
        for line in deployment.log_lines()
        if any(event in line for event in _UNEXPECTED_EVENTS)
    ][:_MAX_UNEXPECTED]


@asynccontextmanager
async def new_experiment(
    servers: SharedServers,
    plan: Plan,
    *,
    replicas: int = 2,
    profile: LoadProfile | None = None,
    postgres_proxy: Proxy | None = None,
    topic: bool = True,
    schema: str | None = None,
    **settings: str,
) -> AsyncIterator[Experiment]:
    """Start replicas that share the shards, without load.

    Args:
        servers: The servers.
        plan: The seed and the rounds.
        replicas: The number of replicas.
        profile: The load.
        postgres_proxy: A proxy between the replicas and Postgres.
        topic: Whether to create the topic.
        schema: The SQL that creates the tables; None is the current schema.
        **settings: Settings of the replicas.
    """
    rng = random.Random(plan.seed)
    async with new_deployment(servers, rng, topic=topic, schema=schema) as deployment:
        if postgres_proxy is not None:
            settings = {"DATABASE_URL": url_via(postgres_proxy, deployment.database_url), **settings}
        for _ in range(replicas):
            deployment.add_replica(**settings).start()
        for replica in deployment.replicas:
            await replica.wait_until_ready()
        ports = [replica.port for replica in deployment.replicas]
        load = Load(str(plan.seed), ports, deployment.tenants, deployment.token, profile or LoadProfile())
        experiment = Experiment(deployment, load, rng, plan)
        if replicas:
            await experiment.wait_until_balanced()
        yield experiment


def url_via(proxy: Proxy, url: str) -> str:
    """Return the URL of a database through a proxy."""
    return re.sub(r":\d+/", f":{proxy.port}/", url)
