"""E26: replicas crash at each step of rotations and expiries, while the clock of one jumps by an hour."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg

from faults import topic_rules
from faults.checker import Verdict
from faults.crashing_service import LIFECYCLE_STEPS
from faults.errors import NotRecoveredError
from faults.evidence import TopicRecord, read_topic
from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.experiments.e02_crash_at_step import crash
from faults.shared_servers import SharedServers
from faults.violation import Violation
from testkit.http_client import HttpConnection, NoResponseError, NotSentError
from testkit.polling import poll_until

_SHORT_STEPS: Final = ("expiry-committed", "old-key-changed")
_CLIENTS: Final = 4
_INTERVAL: Final = 0.03
"""Seconds between two requests of a client, and between two retries."""

_OFFSETS: Final = (3600, -3600)
_WRONG_CLOCK: Final = 2.0
"""Seconds with a wrong clock after each crash."""

_EXPIRY_BOUND: Final = 1.0
"""Seconds within which an expired key is disabled."""

_BROKEN: Final = """
    SELECT count(*)
    FROM project_key AS old
    WHERE NOT old.is_active
      AND (old.expires_at > clock_timestamp()
           OR old.rotated_to IS NOT NULL
              AND NOT EXISTS (SELECT FROM project_key WHERE public_key = old.rotated_to AND is_active))
"""
"""Keys that were disabled before their expiry, and rotations of which neither key is active."""

_LATEST: Final = """
    SELECT coalesce(max(extract(epoch FROM audit_entry.created_at - key.expires_at)), 0)::float8
    FROM audit_entry
    JOIN project_key AS key ON key.public_key = audit_entry.target
    WHERE action = 'projectkey.expire'
"""
_ENTRIES: Final = "SELECT target, action, count(*) FROM audit_entry GROUP BY target, action"


@dataclass(slots=True)
class _Clients:
    """Clients that create, rotate and let keys expire, and repeat each request until it succeeds.

    ``rotations`` contains the old key, the new one and the overlap in seconds; ``expiring`` keys with an expiry.
    """

    experiment: Experiment
    rotations: list[tuple[str, str, int]] = field(default_factory=list)
    expiring: list[str] = field(default_factory=list)
    states_read: int = 0
    stopping: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the clients, and compare each state of the database with the rules, during the block."""
        tasks = [asyncio.create_task(self._run(number)) for number in range(_CLIENTS)]
        tasks.append(asyncio.create_task(self._watch()))
        try:
            yield
        finally:
            self.stopping = True
            await asyncio.gather(*tasks)

    async def _run(self, number: int) -> None:
        tenant = self.experiment.deployment.tenants[number % 2]
        while not self.stopping:
            old = await self._post(tenant.keys_path, {"name": "rotated"})
            overlap = self.experiment.rng.choice((0, 1, 2))
            new = await self._post(f"{tenant.keys_path}{old}/rotate/", {"overlap": overlap})
            self.rotations.append((old, new, overlap))
            expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
            body = {"name": "expiring", "expiresAt": expires_at.isoformat()}
            try:
                self.expiring.append(await self._post(tenant.keys_path, body))
            except _RefusedError:  # it was repeated until the time was over
                continue

    async def _post(self, path: str, body: Mapping[str, Any]) -> str:
        """Send a request under one idempotency key until it succeeds; return the key of the response."""
        headers, started_at = {"Idempotency-Key": uuid4().hex}, time.monotonic()
        while time.monotonic() - started_at < 60:  # noqa: PLR2004 -- seconds: a replica starts within them
            await asyncio.sleep(_INTERVAL)
            connection = HttpConnection(self.experiment.rng.choice(self.experiment.replicas).port)
            try:
                token = self.experiment.deployment.token
                response = await connection.request("POST", path, token=token, body=body, headers=headers)
            except (NotSentError, NoResponseError):
                continue
            finally:
                connection.close()
            if response.status == 201:  # noqa: PLR2004 -- an HTTP status
                return str(response.json()["id"])
            if response.status not in {409, 503}:  # the first request is in progress, or its replica is
                raise _RefusedError(f"{response.status} {response.body.decode()}")
        raise NotRecoveredError(f"no success after 60 s: {path}")

    async def _watch(self) -> None:
        connection = await asyncpg.connect(self.experiment.deployment.database_url)
        while not self.stopping:
            broken = await connection.fetchval(_BROKEN)
            self.experiment.expect(broken == 0, f"{broken} keys are disabled too early, or without a successor")
            self.states_read += 1
            await asyncio.sleep(0.02)
        await connection.close()


class _RefusedError(Exception):
    """A request was refused for good."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Each key expires once and in time, each rotation happens once, and one of its keys is active in every state."""
    async with new_experiment(servers, plan) as experiment:
        clock = experiment.deployment.directory / "clock"
        clock.write_text("0")
        shifted = experiment.deployment.add_replica(module=("faults.shifted_clock", str(clock)))
        shifted.start()
        await shifted.wait_until_ready()
        clients, crashes = _Clients(experiment), 0
        async with clients.running():
            for number in range(plan.rounds):
                for step in _SHORT_STEPS if plan.short else LIFECYCLE_STEPS:
                    experiment.report(f"round {number + 1} of {plan.rounds}, {step}")
                    await crash(experiment, step, experiment.rng.randint(1, 8))
                    crashes += 1
                    clock.write_text(str(experiment.rng.choice(_OFFSETS)))
                    await asyncio.sleep(_WRONG_CLOCK)
                    clock.write_text("0")
        return await _check(experiment, clients, crashes)


async def _check(experiment: Experiment, clients: _Clients, crashes: int) -> ExperimentResult:
    connection = await asyncpg.connect(experiment.deployment.database_url)
    left = "SELECT count(*) FROM project_key WHERE is_active AND expires_at IS NOT NULL"
    await poll_until(lambda: _is_zero(connection, left), timeout=30)
    entries = {(target, action): number for target, action, number in await connection.fetch(_ENTRIES)}
    late, keys = (
        await connection.fetchval(_LATEST),
        await connection.fetchval("SELECT count(*) FROM project_key"),
    )
    await connection.close()
    drain = await experiment.wait_until_published()
    records = await read_topic(experiment.servers.bootstrap_servers, experiment.deployment.topic)
    events = [record for record in records if record.is_event]
    experiment.expect_within(late, _EXPIRY_BOUND, "the latest expiry")
    expected = 2 * len(clients.rotations) + len(clients.expiring)
    experiment.expect(expected <= keys <= expected + 2 * _CLIENTS, f"{keys} keys instead of {expected}")
    violations = [
        *experiment.bound_violations,
        *_lives(clients, events, entries),
        *topic_rules.order(events),
        *topic_rules.duplicates(events, allowed=crashes * BATCH),
    ]
    copies = len(events) - len({record.headers["ce_id"] for record in events})
    experiment.metrics.update(
        rotations=str(len(clients.rotations)),
        expiries=str(sum(action == "projectkey.expire" for _, action in entries)),
        latest_expiry=f"{late:.2f} s",
        states=str(clients.states_read),
        crashes=str(crashes),
    )
    verdict = Verdict(len(clients.rotations) + len(clients.expiring), 0, 0, copies, violations)
    seconds = time.monotonic() - experiment.began
    return ExperimentResult(verdict, seconds, drain, 1.0, experiment.metrics, violations)


async def _is_zero(connection: "asyncpg.Connection[asyncpg.Record]", query: str) -> bool:
    return int(await connection.fetchval(query)) == 0


def _lives(clients: _Clients, events: list[TopicRecord], entries: Mapping[tuple[str, str], int]) -> list[Violation]:
    """Return violations of the rules for the events and the audit entries of each key."""
    by_key = topic_rules.by_key(events)
    expected = {new: ([True], {"create"}) for _, new, _ in clients.rotations}
    expected |= {key: ([True, False], {"create", "expire"}) for key in clients.expiring}
    for old, _, overlap in clients.rotations:
        actions = {"create", "rotate"} | ({"expire"} if overlap else set())
        expected[old] = ([True, True, False] if overlap else [True, False], actions)
    found = []
    for key, (states, actions) in expected.items():
        first = topic_rules.first_copies(by_key.get(key, []))
        active = [json.loads(record.value or b"{}").get("isActive") for record in first]
        if active != states:
            found.append(Violation("life", f"{key}: its events are {active} instead of {states}"))
        numbers = {action.partition(".")[2]: number for (name, action), number in entries.items() if name == key}
        if numbers != dict.fromkeys(actions, 1):
            found.append(Violation("life", f"{key}: its audit entries are {numbers}"))
    return found
