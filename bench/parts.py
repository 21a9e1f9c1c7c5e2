"""What is measured: each part is a few measurements that stand side by side, and the rows they make."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import backlog, crowds, freshness, kit, load
from bench.figures import bucket_quantile, quantile, ratios
from bench.floor import pgbench
from bench.processes import cpu_seconds, result_of
from bench.report import COSTS, Goal, Row
from bench.stage import Stage
from bench.subject import TOPIC, Subject

CONNECTIONS: Final = 64
_RATE: Final = 300.0
"""Creates a second where times are measured, not throughput."""

_BACKLOG: Final = 100_000
_BACKLOG_SECONDS: Final = 12
"""Events that an outage leaves, and seconds of creates while they drain."""

_PATIENCE: Final = 40.0
_MICRO: Final = 1e6
_MILLI: Final = 1e3
_KIT_GOALS: Final = {
    "the kit loads, keys a second": Goal(1_000_000 / 60),
    "the kit holds a key in, bytes": Goal(1000, at_least=False),
}
_SHARES: Final = {"p50": 0.5, "p99": 0.99}
_HISTOGRAM: Final = "projectkeys_publish_seconds_bucket"
_COMMIT_TO_ACK: Final = "commit → ack (interpolated)"
"""Known to the service alone, which counts it in buckets; the other times are exact."""

_FRESHNESS_GOALS: Final = {
    f"{_COMMIT_TO_ACK}, p50": Goal(10, at_least=False),
    f"{_COMMIT_TO_ACK}, p99": Goal(50, at_least=False),
}

Figures = Mapping[str, float]
"""What one measurement of one round found, by name."""

Measure = Callable[[Stage, int], Awaitable[Figures]]
"""Measures for so many seconds."""


@dataclass(frozen=True, slots=True)
class Part:
    """What `--only` can name; ``rows`` makes the table's lines from the rounds of each measurement."""

    summary: str
    measures: Sequence[Measure]
    rows: Callable[[Sequence[Sequence[Figures]]], list[Row]]


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


async def _create(stage: Stage, seconds: int) -> Figures:
    subject = stage.subject
    requests = [stage.requests.create]
    return await _closed_loop(
        stage, seconds, port=subject.port, pid=subject.pid, requests=requests, expected=201
    )


async def _floor(stage: Stage, seconds: int) -> Figures:
    costs, before = _Costs(stage, server=None), resource.getrusage(resource.RUSAGE_CHILDREN)
    program = stage.servers.postgres.bin_dir / "pgbench"
    rate, count = await pgbench(
        program, stage.floor_script, stage.floor_url, clients=CONNECTIONS, seconds=seconds
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": rate, "client": used / count * _MICRO, **costs.per_request(count)}


async def _get(stage: Stage, seconds: int) -> Figures:
    subject = stage.subject
    return await _closed_loop(
        stage, seconds, port=subject.port, pid=subject.pid, requests=stage.requests.keys
    )


async def _list(stage: Stage, seconds: int) -> Figures:
    subject = stage.subject
    return await _closed_loop(
        stage, seconds, port=subject.port, pid=subject.pid, requests=[stage.requests.page]
    )


async def _bare_key(stage: Stage, seconds: int) -> Figures:
    bare = stage.bare_key
    return await _closed_loop(stage, seconds, port=bare.port, pid=bare.pid, requests=[bare.request])


async def _bare_page(stage: Stage, seconds: int) -> Figures:
    bare = stage.bare_page
    return await _closed_loop(stage, seconds, port=bare.port, pid=bare.pid, requests=[bare.request])


async def _freshness(stage: Stage, seconds: int) -> Figures:
    before = await _publish_histogram(stage.subject)
    plan = freshness.Plan(
        port=stage.subject.port,
        request=stage.requests.create,
        rate=_RATE,
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
        f"{_COMMIT_TO_ACK}, {name}": bucket_quantile(list(after), counts, share) * _MILLI
        for name, share in _SHARES.items()
    }
    return commit_to_ack | {
        f"{way}, {name}": quantile(values, share) * _MILLI
        for way, values in times.items()
        for name, share in _SHARES.items()
    }


async def _kit(stage: Stage, _seconds: int) -> Figures:
    plan = await kit.filled(stage.servers.kafka.bootstrap_servers)
    loaded = kit.Loaded(**await result_of("bench.kit", plan, limit=kit.LOADED_WITHIN + _PATIENCE))
    rate, size = plan.keys / loaded.seconds, (loaded.after - loaded.before) / plan.keys
    return dict(zip(_KIT_GOALS, (rate, size), strict=True))


async def _backlog(stage: Stage, seconds: int) -> Figures:
    """An outage that leaves a backlog; creates go on meanwhile, and their freshness is measured as it drains."""
    del seconds
    kafka, subject = stage.servers.kafka, stage.subject
    await backlog.leave_behind(
        kafka, stage.servers.postgres.url, stage.requests.written_project, events=_BACKLOG
    )
    plan = freshness.Plan(
        port=subject.port,
        request=stage.requests.create,
        rate=_RATE,
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
        "new p50": quantile(fresh.request_to_event, _SHARES["p50"]),
        "new p99": quantile(fresh.request_to_event, _SHARES["p99"]),
    }


def _backlog_rows(rounds: Sequence[Sequence[Figures]]) -> list[Row]:
    def of(name: str) -> list[float]:
        return [figures[name] for (figures,) in rounds]

    return [
        Row(f"backlog of {_BACKLOG} events, drained a second", of("rate"), goal=Goal(10_000)),
        Row("  Kafka's return → the first of them, s", of("first")),
        Row("  new key meanwhile: request → consumer, p50, s", of("new p50")),
        Row("  new key meanwhile: request → consumer, p99, s", of("new p99"), goal=Goal(5, at_least=False)),
    ]


async def _publish_histogram(subject: Subject) -> dict[float, float]:
    samples = await subject.samples()
    return {
        float(name.removeprefix(_HISTOGRAM)): value
        for name, value in samples.items()
        if name.startswith(_HISTOGRAM)
    }


def _race(label: str, rival: str, goal: Goal | None) -> Callable[[Sequence[Sequence[Figures]]], list[Row]]:
    def rows(rounds: Sequence[Sequence[Figures]]) -> list[Row]:
        ours, theirs = zip(*rounds, strict=True)
        rates = [[one["rate"] for one in side] for side in (ours, theirs)]
        return [
            Row(label, rates[0], ratios(*rates), goal, _of_each(ours)),
            Row(f"  {rival}", rates[1], costs=_of_each(theirs)),
        ]

    return rows


def _of_each(rounds: Sequence[Figures]) -> dict[str, list[float]]:
    return {cost: [one[cost] for one in rounds] for cost in COSTS if cost in rounds[0]}


def _kit_rows(rounds: Sequence[Sequence[Figures]]) -> list[Row]:
    found = [figures for (figures,) in rounds]
    return [Row(name, [one[name] for one in found], goal=goal) for name, goal in _KIT_GOALS.items()]


def _freshness_rows(rounds: Sequence[Sequence[Figures]]) -> list[Row]:
    found = [figures for (figures,) in rounds]
    return [
        Row(f"{name}, ms", [one[name] for one in found], goal=_FRESHNESS_GOALS.get(name)) for name in found[0]
    ]


PARTS: Final[Mapping[str, Part]] = {
    "creates": Part(
        "creates a second, against pgbench writing the same rows in one statement",
        (_create, _floor),
        _race("POST key, a second", "pgbench, the same rows, a second", Goal(0.5)),
    ),
    "get": Part(
        "reads of one key a second, against bare aiohttp answering as many constant bytes",
        (_get, _bare_key),
        _race("GET key, a second", "bare aiohttp, constant bytes, a second", Goal(0.5)),
    ),
    "list": Part(
        "reads of a page of ten keys a second, against the same",
        (_list, _bare_page),
        _race("GET page of 10, a second", "bare aiohttp, constant bytes, a second", None),
    ),
    "freshness": Part(
        f"from a create to Kafka and to a consumer, at {_RATE:.0f} creates a second that wait for nothing",
        (_freshness,),
        _freshness_rows,
    ),
    "kit": Part(
        f"the consumer kit loading {kit.KEYS:,} keys (BENCH_KIT_KEYS) and holding them",
        (_kit,),
        _kit_rows,
    ),
    "overload": Part(
        "creates a second when far more are asked for than can be done, against the peak",
        (crowds.measure,),
        crowds.rows,
    ),
    "backlog": Part(
        f"{_BACKLOG} events after an outage of Kafka, while {_RATE:.0f} keys a second are made",
        (_backlog,),
        _backlog_rows,
    ),
}
