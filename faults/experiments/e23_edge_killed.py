"""E23: edges are killed under load; then the service and PostgreSQL are stopped, and the edges continue."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from faults.experiment import SHORT_TOLERANCE, Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Action, Outcome
from faults.shared_servers import SharedServers
from testkit.http_client import HttpConnection, NoResponseError, NotSentError
from testkit.replica import Replica

_EDGES: Final = 2
_READY_BOUND: Final = 5.0
_VISIBLE_AFTER: Final = 1.0
"""Seconds after the response to its create from which no edge may refuse a key."""

_CREATE_INTERVAL: Final = 0.05
_ASK_INTERVAL: Final = 0.005
_ALLOWED: Final = 200


@dataclass(slots=True)
class _Clients:
    """Clients of the edges: each creates keys or asks ready edges about created ones.

    Attributes:
        ready: The edges that a load balancer would use.
        keys: Each key with the time of the response to its create, seconds of the monotonic clock.
        allowed: The number of allowed requests.
        refused: Descriptions of refused ones.
        stopped: Whether no more keys are created.
    """

    experiment: Experiment
    ready: list[Replica]
    keys: list[tuple[str, int, float]] = field(default_factory=list)
    allowed: int = 0
    refused: list[str] = field(default_factory=list)
    stopped: bool = False

    async def create(self) -> None:
        load = self.experiment.load
        with _connections(load.ports) as connections:
            for number in itertools.takewhile(lambda _: not self.stopped, itertools.count()):
                tenant = load.tenants[number % len(load.tenants)]
                call = await load.call(connections, Action.CREATE, tenant, label=f"for the edge {number}")
                if call.outcome is Outcome.OK:
                    self.keys.append((call.key, tenant.project_id, call.ended))
                await asyncio.sleep(_CREATE_INTERVAL)

    async def ask(self) -> None:
        ports = [edge.port for edge in self.ready]
        with _connections(ports) as connections:
            await self._ask(dict(zip(ports, connections, strict=True)))

    async def _ask(self, connections: Mapping[int, HttpConnection]) -> None:
        tolerance, rng = SHORT_TOLERANCE if self.experiment.plan.short else 1, self.experiment.rng
        while True:
            await asyncio.sleep(_ASK_INTERVAL)
            visible = time.monotonic() - _VISIBLE_AFTER * tolerance
            known = [key for key in self.keys if key[2] < visible]
            if not known:
                continue
            key, project, created_at = known[-1] if rng.random() < 0.5 else rng.choice(known)  # noqa: PLR2004 -- half
            port = rng.choice(self.ready).port
            headers = {"X-Original-URI": f"/api/{project}/envelope/?sentry_key={key}"}
            age = time.monotonic() - created_at
            try:
                response = await connections[port].request("GET", "/auth", headers=headers)
            except (NotSentError, NoResponseError):  # the edge is killed
                continue
            if response.status == _ALLOWED:
                self.allowed += 1
            else:
                self.refused.append(f"{response.status} {response.body!r} {age:.1f} s after the create")

    async def wait_for_allowed(self, number: int) -> None:
        """Wait until so many further requests are allowed; a bound of the experiment is 30 s."""
        wanted = self.allowed + number
        async with asyncio.timeout(30):
            while self.allowed < wanted:
                await asyncio.sleep(0.02)


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """No edge refuses a key a second after its create, and nothing that an edge does depends on the service."""
    async with new_experiment(servers, plan) as experiment:
        edges = [experiment.deployment.add_edge() for _ in range(_EDGES)]
        for edge in edges:
            edge.start()
        for edge in edges:
            await edge.wait_until_ready()
        clients = _Clients(experiment, edges.copy())
        async with _running(clients.ask(), clients.ask()):
            async with experiment.under_load(), _creating(clients):
                await clients.wait_for_allowed(50)
                restarts = [await _restart(clients, await _kill(clients)) for _ in range(plan.rounds - 1)]
                victim = await _kill(clients)
            await experiment.wait_until_published()
            async with _service_stopped(experiment):
                await clients.wait_for_allowed(100)
                slowest = max([*restarts, await _restart(clients, victim)])
        experiment.metrics["slowest restart of an edge"] = f"{slowest:.1f} s"
        experiment.metrics["requests allowed"] = str(clients.allowed)
        experiment.expect(not clients.refused, f"{len(clients.refused)} refused: {clients.refused[:3]}")
        experiment.expect_no_failures()
        return await experiment.check(duplicates=0)


@contextmanager
def _connections(ports: Iterable[int]) -> Iterator[list[HttpConnection]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(HttpConnection(port))) for port in ports]


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def _creating(clients: _Clients) -> AsyncIterator[None]:
    """Create keys during the block, at the end of which every request has its response."""
    task = asyncio.create_task(clients.create())
    try:
        yield
    finally:
        clients.stopped = True
        await task


async def _kill(clients: _Clients) -> Replica:
    """Kill an edge, which a load balancer then does not use until it is ready."""
    rng = clients.experiment.rng
    victim = rng.choice(clients.ready)
    await asyncio.sleep(rng.uniform(0.05, 0.6))
    victim.kill()
    clients.ready.remove(victim)
    await clients.wait_for_allowed(30)
    return victim


async def _restart(clients: _Clients, edge: Replica) -> float:
    """Start an edge again; return the seconds until it was ready."""
    edge.start()
    seconds = await edge.wait_until_ready()
    clients.experiment.expect_within(seconds, _READY_BOUND, "a restart of an edge")
    clients.ready.append(edge)
    await clients.wait_for_allowed(30)
    return seconds


@asynccontextmanager
async def _service_stopped(experiment: Experiment) -> AsyncIterator[None]:
    """Stop every replica of the service, and PostgreSQL during the block."""
    for replica in experiment.replicas:
        replica.kill()
    await experiment.servers.postgres.stop()
    try:
        yield
    finally:
        await experiment.servers.postgres.start()
