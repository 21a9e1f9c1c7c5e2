"""The measurements: each function measures for a number of seconds and returns its metrics by name."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from bench import backlog, freshness, kit_loading
from bench.calculations import bucket_quantile, quantile
from bench.closed_loop import Plan, run_load
from bench.deployment import TOPIC, MeasuredReplica
from bench.peers.running import Peer, Target
from bench.pgbench_baseline import pgbench
from bench.programs import run_worker
from bench.setup import PgbenchScript, Setup
from projectkeys_servers.servers import Servers
from testkit.processes import cpu_seconds

CONNECTIONS: Final = 64
RATE: Final = 300.0
"""Creates per second in measurements of times."""

BACKLOGS: Final = (20_000, 100_000)
"""Events of outages of Kafka, a short and a long one."""

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
"""The metrics of one measurement of one round; none if a peer is not available."""

Measurement = Callable[[Setup, int], Awaitable[Metrics]]
"""Measures for a number of seconds."""


class ProcessorTime:
    """Measures processor time from its creation: of the servers, and of the process ``server``."""

    def __init__(self, servers: Servers, *, server: int | None) -> None:
        self._pids = {"postgres": servers.postgres.pid, "kafka": servers.kafka.pid}
        if server is not None:
            self._pids["server"] = server
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def per_request(self, requests: int) -> dict[str, float]:
        """Return microseconds per request."""
        return {name: (now - self._before[name]) / requests * _MICRO for name, now in self._read().items()}


async def measure_load(
    servers: Servers,
    target: Target,
    requests: Sequence[str],
    *,
    seconds: float,
    expected: int = 200,
    connections: int = CONNECTIONS,
) -> Metrics:
    """Send requests in a closed loop; return the rate, p50 and p99 in milliseconds, and processor time in µs.

    Raises:
        BenchError: A response is unexpected, or an event is not published: such a rate does not count.
    """
    processor_time = ProcessorTime(servers, server=target.pid)
    load = await run_load(Plan(target.port, requests, expected, connections, seconds))
    await target.wait_until_published()
    return {
        "rate": load.responses / load.seconds,
        "p50": load.p50 * _MILLI,
        "p99": load.p99 * _MILLI,
        "responses": load.responses,
        "client": load.cpu / load.responses * _MICRO,
        **processor_time.per_request(load.responses),
    }


async def creates(setup: Setup, seconds: int) -> Metrics:
    """Measure creates of keys."""
    requests = [setup.requests.create]
    return await measure_load(setup.servers, setup.service, requests, seconds=seconds, expected=201)


async def updates(setup: Setup, seconds: int) -> Metrics:
    """Measure changes of the names of keys."""
    return await measure_load(setup.servers, setup.service, setup.requests.updates, seconds=seconds)


async def key_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure reads of single keys."""
    return await measure_load(setup.servers, setup.service, setup.requests.keys, seconds=seconds)


async def page_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure reads of one page; concurrent requests for the same page share a query."""
    return await measure_load(setup.servers, setup.service, setup.requests.pages[:1], seconds=seconds)


async def reads_of_many_pages(setup: Setup, seconds: int) -> Metrics:
    """Measure reads of pages of different projects in turn."""
    return await measure_load(setup.servers, setup.service, setup.requests.pages, seconds=seconds)


async def _pgbench(setup: Setup, script: PgbenchScript, seconds: int) -> Metrics:
    processor_time = ProcessorTime(setup.servers, server=None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = setup.servers.postgres.bin_dir / "pgbench"
    rate, count = await pgbench(program, script.file, script.url, clients=CONNECTIONS, seconds=seconds)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": rate, "client": used / count * _MICRO, **processor_time.per_request(count)}


async def same_schema_creates(setup: Setup, seconds: int) -> Metrics:
    """Measure pgbench with the service's rows in the service's schema."""
    return await _pgbench(setup, setup.same_schema, seconds)


async def plain_schema_creates(setup: Setup, seconds: int) -> Metrics:
    """Measure pgbench with a key and an outbox row in a plain schema."""
    return await _pgbench(setup, setup.plain_schema, seconds)


async def constant_key_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure a server that responds with as many constant bytes as a key has."""
    server = setup.constant_key
    return await measure_load(setup.servers, server, [server.request], seconds=seconds)


async def constant_page_reads(setup: Setup, seconds: int) -> Metrics:
    """Measure a server that responds with as many constant bytes as a page has."""
    server = setup.constant_page
    return await measure_load(setup.servers, server, [server.request], seconds=seconds)


def of_peer(name: str, requests_of: Callable[[Peer], Sequence[str]], expected: int = 200) -> Measurement:
    """Return a measurement of requests of a peer; it has no metrics if this machine cannot run the peer."""

    async def measure(setup: Setup, seconds: int) -> Metrics:
        peer = await setup.peers.get(name)
        if peer is None:
            return {}
        requests = requests_of(peer)
        return await measure_load(setup.servers, peer.target, requests, seconds=seconds, expected=expected)

    return measure


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


def backlog_recovery(events: int) -> Measurement:
    """Return a measurement of an outage with ``events``, and of the times of creates while they are published."""

    async def measure(setup: Setup, _seconds: int) -> Metrics:
        kafka, url, project = setup.servers.kafka, setup.servers.postgres.url, setup.requests.written_project
        created = await backlog.create_backlog(kafka, url, project, events=events)
        plan = _freshness_plan(setup, _BACKLOG_SECONDS)
        recovery, result = await asyncio.gather(
            backlog.publish_backlog(kafka, url, created),
            run_worker("bench.freshness", plan, timeout=_BACKLOG_SECONDS + _WORKER_TIMEOUT),
        )
        await setup.service.wait_until_published()
        new_keys = freshness.Freshness(**result)
        return {
            "first": recovery.until_first,
            "rate": events / recovery.seconds,
            "new p50": quantile(new_keys.request_to_event, SHARES["p50"]),
            "new p99": quantile(new_keys.request_to_event, SHARES["p99"]),
        }

    return measure
