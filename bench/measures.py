"""What is measured: each function does it for so many seconds and returns what it found, by name."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from bench import backlog, freshness, kit, load
from bench.figures import bucket_quantile, quantile
from bench.floor import pgbench
from bench.processes import cpu_seconds, result_of
from bench.stage import Stage
from bench.subject import TOPIC, Subject

CONNECTIONS: Final = 64
RATE: Final = 300.0
"""Creates a second where times are measured, not throughput."""

BACKLOG: Final = 100_000
_BACKLOG_SECONDS: Final = 12
"""Events that an outage leaves, and seconds of creates while they drain."""

_PATIENCE: Final = 40.0
_MICRO: Final = 1e6
_MILLI: Final = 1e3
SHARES: Final = {"p50": 0.5, "p99": 0.99}
_HISTOGRAM: Final = "projectkeys_publish_seconds_bucket"
COMMIT_TO_ACK: Final = "commit → ack (interpolated)"
"""Known to the service alone, which counts it in buckets; the other times are exact."""

KIT_RATE: Final = "the kit loads, keys a second"
KIT_BYTES: Final = "the kit holds a key in, bytes"

Figures = Mapping[str, float]
"""What one measurement of one round found, by name."""

Measure = Callable[[Stage, int], Awaitable[Figures]]
"""Measures for so many seconds."""


class _Costs:
    """Charges processor time between its making and its `per_request`."""

    def __init__(self, stage: Stage, *, server: int | None) -> None:
        self._pids = {"postgres": stage.servers.postgres.pid, "kafka": stage.servers.kafka.pid}
        if server is not None:
            self._pids["server"] = server
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def per_request(self, requests: int) -> dict[str, float]:
        """Microseconds for each of so many requests."""
        return {name: (now - self._before[name]) / requests * _MICRO for name, now in self._read().items()}


async def _closed_loop(
    stage: Stage, seconds: int, *, port: int, pid: int, requests: Sequence[str], expected: int = 200
) -> Figures:
    costs = _Costs(stage, server=pid)
    plan = load.Plan(port, requests, expected, CONNECTIONS, seconds)
    done = load.Load(**await result_of("bench.load", plan, limit=seconds + _PATIENCE))
    await stage.subject.drained()
    client = done.cpu / done.answers * _MICRO
    return {"rate": done.answers / done.seconds, "client": client, **costs.per_request(done.answers)}


async def creates(stage: Stage, seconds: int) -> Figures:
    """Keys made a second."""
    subject = stage.subject
    requests = [stage.requests.create]
    return await _closed_loop(
        stage, seconds, port=subject.port, pid=subject.pid, requests=requests, expected=201
    )


async def floor_of_creates(stage: Stage, seconds: int) -> Figures:
    """What pgbench does of the same."""
    costs, before = _Costs(stage, server=None), resource.getrusage(resource.RUSAGE_CHILDREN)
    program = stage.servers.postgres.bin_dir / "pgbench"
    rate, count = await pgbench(
        program, stage.floor_script, stage.floor_url, clients=CONNECTIONS, seconds=seconds
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": rate, "client": used / count * _MICRO, **costs.per_request(count)}


async def _reads(stage: Stage, seconds: int, requests: Sequence[str]) -> Figures:
    subject = stage.subject
    return await _closed_loop(stage, seconds, port=subject.port, pid=subject.pid, requests=requests)


async def gets(stage: Stage, seconds: int) -> Figures:
    """Reads of one key."""
    return await _reads(stage, seconds, stage.requests.keys)


async def pages(stage: Stage, seconds: int) -> Figures:
    """Reads of one page: those who ask for the same at the same time share a read."""
    return await _reads(stage, seconds, stage.requests.pages[:1])


async def pages_of_many(stage: Stage, seconds: int) -> Figures:
    """Reads of pages of different projects in turn."""
    return await _reads(stage, seconds, stage.requests.pages)


async def bare_keys(stage: Stage, seconds: int) -> Figures:
    """As many bytes as a key has, from a handler that does nothing."""
    bare = stage.bare_key
    return await _closed_loop(stage, seconds, port=bare.port, pid=bare.pid, requests=[bare.request])


async def bare_pages(stage: Stage, seconds: int) -> Figures:
    """The same for a page."""
    bare = stage.bare_page
    return await _closed_loop(stage, seconds, port=bare.port, pid=bare.pid, requests=[bare.request])


async def times_of_events(stage: Stage, seconds: int) -> Figures:
    """Times on the way from a create to Kafka and to a consumer."""
    before = await _publish_histogram(stage.subject)
    plan = freshness.Plan(
        port=stage.subject.port,
        request=stage.requests.create,
        rate=RATE,
        seconds=seconds,
        bootstrap=stage.servers.kafka.bootstrap_servers,
        topic=TOPIC,
    )
    result = await result_of("bench.freshness", plan, limit=seconds + _PATIENCE)
    after = await _publish_histogram(stage.subject)
    found = freshness.Freshness(**result)
    counts = [after[bound] - before[bound] for bound in after]
    times = {
        "request → answer": found.request_to_answer,
        "answer → consumer": found.answer_to_event,
        "request → consumer": found.request_to_event,
    }
    commit_to_ack = {
        f"{COMMIT_TO_ACK}, {name}": bucket_quantile(list(after), counts, share) * _MILLI
        for name, share in SHARES.items()
    }
    return commit_to_ack | {
        f"{way}, {name}": quantile(values, share) * _MILLI
        for way, values in times.items()
        for name, share in SHARES.items()
    }


async def _publish_histogram(subject: Subject) -> dict[float, float]:
    samples = await subject.samples()
    return {
        float(name.removeprefix(_HISTOGRAM)): value
        for name, value in samples.items()
        if name.startswith(_HISTOGRAM)
    }


async def kit_loading(stage: Stage, _seconds: int) -> Figures:
    """The consumer kit in a process of its own."""
    plan = await kit.filled(stage.servers.kafka.bootstrap_servers)
    loaded = kit.Loaded(**await result_of("bench.kit", plan, limit=kit.LOADED_WITHIN + _PATIENCE))
    rate, size = plan.keys / loaded.seconds, (loaded.after - loaded.before) / plan.keys
    return {KIT_RATE: rate, KIT_BYTES: size}


async def backlog_draining(stage: Stage, seconds: int) -> Figures:
    """An outage that leaves a backlog; creates go on meanwhile, and their freshness is measured as it drains."""
    del seconds
    kafka, subject = stage.servers.kafka, stage.subject
    await backlog.leave_behind(
        kafka, stage.servers.postgres.url, stage.requests.written_project, events=BACKLOG
    )
    plan = freshness.Plan(
        port=subject.port,
        request=stage.requests.create,
        rate=RATE,
        seconds=_BACKLOG_SECONDS,
        bootstrap=stage.servers.kafka.bootstrap_servers,
        topic=TOPIC,
    )
    drained, result = await asyncio.gather(
        backlog.drain(kafka, subject),
        result_of("bench.freshness", plan, limit=_BACKLOG_SECONDS + _PATIENCE),
    )
    await subject.drained()
    fresh = freshness.Freshness(**result)
    return {
        "first": drained.until_first,
        "rate": drained.events / drained.seconds,
        "new p50": quantile(fresh.request_to_event, SHARES["p50"]),
        "new p99": quantile(fresh.request_to_event, SHARES["p99"]),
    }
