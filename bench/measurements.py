"""The measurements: each function measures for a number of seconds and returns its metrics by name."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from bench import backlog, closed_loop, freshness, kit_loading
from bench.calculations import bucket_quantile, quantile
from bench.deployment import TOPIC, MeasuredReplica
from bench.pgbench_baseline import pgbench
from bench.programs import run_worker
from bench.setup import Setup
from testkit.processes import cpu_seconds

CONNECTIONS: Final = 64
RATE: Final = 300.0
"""Creates per second in measurements of times."""

BACKLOG: Final = 100_000
"""Events of an outage of Kafka."""

_BACKLOG_SECONDS: Final = 12
"""Seconds of creates while the backlog is published."""

_WORKER_TIMEOUT: Final = 40.0
"""Seconds in addition to those of the measurement."""

_MICRO: Final = 1e6  # microseconds per second
_MILLI: Final = 1e3  # milliseconds per second
SHARES: Final = {"p50": 0.5, "p99": 0.99}
_HISTOGRAM: Final = 'publish_seconds_bucket{le="'
COMMIT_TO_ACK: Final = "commit → ack (interpolated)"
"""Only the service knows this time, and counts it in buckets; the other times are exact."""

KIT_RATE: Final = "consumer kit: keys loaded per second"
KIT_BYTES: Final = "consumer kit: bytes per key"

Metrics = Mapping[str, float]
"""The metrics of one measurement of one round."""

Measurement = Callable[[Setup, int], Awaitable[Metrics]]
"""Measures for a number of seconds."""


class _ProcessorTime:
    """Measures processor time from its creation."""

    def __init__(self, setup: Setup, *, server: int | None) -> None:
        self._pids = {"postgres": setup.servers.postgres.pid, "kafka": setup.servers.kafka.pid}
        if server is not None:
            self._pids["server"] = server
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def per_request(self, requests: int) -> dict[str, float]:
        """Return microseconds per request."""
        return {name: (now - self._before[name]) / requests * _MICRO for name, now in self._read().items()}


async def _closed_loop(
    setup: Setup, seconds: int, *, port: int, pid: int, requests: Sequence[str], expected: int = 200
) -> Metrics:
    processor_time = _ProcessorTime(setup, server=pid)
    plan = closed_loop.Plan(port, requests, expected, CONNECTIONS, seconds)
    result = await run_worker("bench.closed_loop", plan, timeout=seconds + _WORKER_TIMEOUT)
    load = closed_loop.Load(**result)
    await setup.service.wait_until_published()
    client = load.cpu / load.responses * _MICRO
    costs = processor_time.per_request(load.responses)
    return {"rate": load.responses / load.seconds, "client": client, **costs}


async def creates(setup: Setup, seconds: int) -> Metrics:
    """Measure creates of keys."""
    service, requests = setup.service, [setup.requests.create]
    return await _closed_loop(
        setup, seconds, port=service.port, pid=service.pid, requests=requests, expected=201
    )


async def pgbench_creates(setup: Setup, seconds: int) -> Metrics:
    """Measure pgbench with the same rows."""
    processor_time, before = _ProcessorTime(setup, server=None), resource.getrusage(resource.RUSAGE_CHILDREN)
    program = setup.servers.postgres.bin_dir / "pgbench"
    rate, count = await pgbench(
        program, setup.pgbench_script, setup.pgbench_url, clients=CONNECTIONS, seconds=seconds
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": rate, "client": used / count * _MICRO, **processor_time.per_request(count)}


async def _reads(setup: Setup, seconds: int, requests: Sequence[str]) -> Metrics:
    service = setup.service
    return await _closed_loop(setup, seconds, port=service.port, pid=service.pid, requests=requests)


async def key_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure reads of one key."""
    return await _reads(setup, seconds, setup.requests.keys)


async def page_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure reads of one page; concurrent requests for the same page share a query."""
    return await _reads(setup, seconds, setup.requests.pages[:1])


async def reads_of_many_pages(setup: Setup, seconds: int) -> Metrics:
    """Measure reads of pages of different projects in turn."""
    return await _reads(setup, seconds, setup.requests.pages)


async def constant_key_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure a server that responds with as many constant bytes as a key has."""
    server = setup.constant_key
    return await _closed_loop(setup, seconds, port=server.port, pid=server.pid, requests=[server.request])


async def constant_page_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure a server that responds with as many constant bytes as a page has."""
    server = setup.constant_page
    return await _closed_loop(setup, seconds, port=server.port, pid=server.pid, requests=[server.request])


def _freshness_plan(setup: Setup, seconds: int) -> freshness.Plan:
    return freshness.Plan(
        port=setup.service.port,
        request=setup.requests.create,
        rate=RATE,
        seconds=seconds,
        bootstrap=setup.servers.kafka.bootstrap_servers,
        topic=TOPIC,
    )


async def event_times(setup: Setup, seconds: int) -> Metrics:
    """Measure the times from a create to Kafka and to a consumer."""
    before = await _publish_histogram(setup.service)
    plan = _freshness_plan(setup, seconds)
    result = await run_worker("bench.freshness", plan, timeout=seconds + _WORKER_TIMEOUT)
    after = await _publish_histogram(setup.service)
    found = freshness.Freshness(**result)
    counts = [after[bound] - before[bound] for bound in after]
    times = {
        "request → response": found.request_to_response,
        "response → consumer": found.response_to_event,
        "request → consumer": found.request_to_event,
    }
    commit_to_ack = {
        f"{COMMIT_TO_ACK}, {name}": bucket_quantile(list(after), counts, share) * _MILLI
        for name, share in SHARES.items()
    }
    return commit_to_ack | {
        f"{interval}, {name}": quantile(values, share) * _MILLI
        for interval, values in times.items()
        for name, share in SHARES.items()
    }


async def _publish_histogram(service: MeasuredReplica) -> dict[float, float]:
    return {
        float(name.removeprefix(_HISTOGRAM).removesuffix('"}')): value
        for name, value in (await service.metrics()).items()
        if name.startswith(_HISTOGRAM)
    }


async def kit_loading_metrics(setup: Setup, _seconds: int) -> Metrics:
    """Measure the consumer kit in a process of its own."""
    plan = await kit_loading.prepare_topic(setup.servers.kafka.bootstrap_servers)
    timeout = kit_loading.LOAD_TIMEOUT + _WORKER_TIMEOUT
    loaded = kit_loading.Loaded(**await run_worker("bench.kit_loading", plan, timeout=timeout))
    rate, size = plan.keys / loaded.seconds, (loaded.after - loaded.before) / plan.keys
    return {KIT_RATE: rate, KIT_BYTES: size}


async def backlog_recovery(setup: Setup, _seconds: int) -> Metrics:
    """Create a backlog while Kafka is paused; measure its publishing and the times of creates meanwhile."""
    kafka, service = setup.servers.kafka, setup.service
    await backlog.create_backlog(
        kafka, setup.servers.postgres.url, setup.requests.written_project, events=BACKLOG
    )
    plan = _freshness_plan(setup, _BACKLOG_SECONDS)
    recovery, result = await asyncio.gather(
        backlog.publish_backlog(kafka, service),
        run_worker("bench.freshness", plan, timeout=_BACKLOG_SECONDS + _WORKER_TIMEOUT),
    )
    await service.wait_until_published()
    new_keys = freshness.Freshness(**result)
    return {
        "first": recovery.until_first,
        "rate": recovery.events / recovery.seconds,
        "new p50": quantile(new_keys.request_to_event, SHARES["p50"]),
        "new p99": quantile(new_keys.request_to_event, SHARES["p99"]),
    }
