"""The measurements of the edge: its start, its decisions for proxies, and the time until a change reaches it."""

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import decisions, edge_freshness, kit_loading
from bench.calculations import quantile
from bench.deployment import MeasuredReplica, replica
from bench.measurements import RATE, SHARES, Metrics, measure_load
from bench.programs import run_worker
from bench.report import Goal, Row
from bench.requests import keys_path
from bench.setup import Setup
from testkit.http_client import request_bytes
from testkit.replica import Replica

KEYS: Final = int(os.environ.get("BENCH_EDGE_KEYS", "1000000"))
"""Keys in the topic when the start is measured; the goals are those for a million."""

_DECIDED_KEYS: Final = 1000
_REPLICAS: Final = 2
_LOAD_TIMEOUT: Final = 300.0
_STOP_TIMEOUT: Final = 60.0
"""Seconds; the snapshot is written at the end."""

_WORKER_TIMEOUT: Final = 60.0
_MILLI: Final = 1e3  # milliseconds per second
_START_GOALS: Final = {
    "seconds until ready, from the topic": Goal(30, at_least=False),
    "seconds until ready, from a snapshot": Goal(5, at_least=False),
    "bytes per key": Goal(700, at_least=False),
}
_FRESHNESS_GOAL: Final = Goal(1000, at_least=False)


class MeasuredEdge(Replica):
    """A replica of the edge.

    Args:
        bootstrap: Kafka's address.
        topic: The topic of the keys.
        directory: The directory of its log.
        snapshot: The file of its snapshot; None: none.
    """

    def __init__(self, bootstrap: str, topic: str, directory: Path, *, snapshot: Path | None = None) -> None:
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_TOPIC": topic,
            "EDGE_SNAPSHOT": str(snapshot or ""),
            "SHUTDOWN_DELAY": "0",
            "LOG_FORMAT": "json",
        }
        super().__init__(settings, directory=directory, command=("edge",))
        self.environment["EDGE_PORT"] = str(self.port)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    async def wait_until_published(self) -> None:
        """Return at once: it publishes nothing."""


@asynccontextmanager
async def edge_running(edge: MeasuredEdge) -> AsyncIterator[float]:
    """Run an edge during the block; yield the seconds from its start until it was ready."""
    began = time.perf_counter()
    edge.start()
    try:
        await edge.wait_until_ready(timeout=_LOAD_TIMEOUT)
        yield time.perf_counter() - began
        await edge.stop(timeout=_STOP_TIMEOUT)
    finally:
        edge.kill()


async def start(setup: Setup, _seconds: int) -> Metrics:
    """Measure the start from the topic and from a snapshot, and the memory of the keys."""
    bootstrap = setup.servers.kafka.bootstrap_servers
    full = await kit_loading.prepare_topic(bootstrap, "bench-edge", KEYS)
    small = await _decided_topic(setup)
    with TemporaryDirectory() as name:
        directory = Path(name)
        async with edge_running(first := MeasuredEdge(bootstrap, small.topic, directory)):
            before = first.process.resident_memory()
        edge = MeasuredEdge(bootstrap, full.topic, directory, snapshot=directory / "keys")
        async with edge_running(edge) as from_topic:
            used = edge.process.resident_memory() - before
        async with edge_running(edge) as from_snapshot:
            used = max(used, edge.process.resident_memory() - before)
    return dict(zip(_START_GOALS, (from_topic, from_snapshot, used / (KEYS - small.keys)), strict=True))


def start_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    """Return the rows of `start`."""
    found = [metrics for (metrics,) in rounds]
    return [
        Row(f"edge with {KEYS:,} keys: {name}", [metrics[name] for metrics in found], goal=goal)
        for name, goal in _START_GOALS.items()
    ]


async def _decided_topic(setup: Setup) -> kit_loading.Plan:
    bootstrap = setup.servers.kafka.bootstrap_servers
    return await kit_loading.prepare_topic(bootstrap, "bench-edge-decisions", _DECIDED_KEYS)


async def decisions_in_process(setup: Setup, seconds: int) -> Metrics:
    """Measure the decisions without HTTP, about random keys of many."""
    topic = await kit_loading.prepare_topic(setup.servers.kafka.bootstrap_servers)
    plan = decisions.Plan(topic.bootstrap, topic.topic, topic.keys, seconds)
    result = await run_worker("bench.decisions", plan, timeout=10 * seconds + kit_loading.LOAD_TIMEOUT)
    decided = decisions.Decisions(**result)
    return {"rate": decided.decisions / decided.seconds}


def decision_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    """Return the row of `decisions_in_process`."""
    return [
        Row(
            f"decisions of the edge in its process, of {kit_loading.KEYS:,} keys, per processor second",
            [metrics["rate"] for (metrics,) in rounds],
            goal=Goal(100_000),
        )
    ]


def _requests(path: str) -> list[str]:
    keys = map(kit_loading.public_key, range(_DECIDED_KEYS))
    return [request_bytes("GET", path, headers=decisions.headers_of(key)).decode() for key in keys]


async def decisions_over_http(setup: Setup, seconds: int) -> Metrics:
    """Measure the endpoint of decisions."""
    topic = await _decided_topic(setup)
    with TemporaryDirectory() as directory:
        async with edge_running(edge := MeasuredEdge(topic.bootstrap, topic.topic, Path(directory))):
            return await measure_load(setup.servers, edge, _requests(decisions.PATH), seconds=seconds)


async def constant_responses(setup: Setup, seconds: int) -> Metrics:
    """Measure a server that responds to the same requests without a body and without a decision."""
    return await measure_load(setup.servers, setup.constant_empty, _requests("/"), seconds=seconds)


async def freshness(setup: Setup, seconds: int) -> Metrics:
    """Measure the times until the edge accepts a created key and refuses a disabled one; two replicas of each."""
    service, bootstrap = setup.service, setup.servers.kafka.bootstrap_servers
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        edges = [MeasuredEdge(bootstrap, service.environment["KAFKA_TOPIC"], directory) for _ in range(_REPLICAS)]
        second: MeasuredReplica = await stack.enter_async_context(
            replica(service.environment, service.token, directory)
        )
        for edge in edges:
            await stack.enter_async_context(edge_running(edge))
        plan = edge_freshness.Plan(
            services=[service.port, second.port],
            edges=[edge.port for edge in edges],
            token=service.token,
            path=keys_path("written"),
            project_id=setup.requests.written_project,
            rate=RATE / 2,  # each key is changed twice
            seconds=seconds,
        )
        result = await run_worker("bench.edge_freshness", plan, timeout=seconds + _WORKER_TIMEOUT)
        await service.wait_until_published()
    found = edge_freshness.EdgeFreshness(**result)
    times: Mapping[str, list[float]] = {
        "create: request → active": found.request_to_active,
        "create: response → active": found.response_to_active,
        "disable: response → refused": found.disabled_to_refused,
    }
    return {
        f"{name}, {share}": quantile(values, bound) * _MILLI
        for name, values in times.items()
        for share, bound in SHARES.items()
    }


def freshness_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    """Return the rows of `freshness`."""
    found = [metrics for (metrics,) in rounds]
    return [
        Row(
            f"edge, {name}, ms",
            [metrics[name] for metrics in found],
            goal=_FRESHNESS_GOAL if name.endswith("p99") else None,
        )
        for name in found[0]
    ]
