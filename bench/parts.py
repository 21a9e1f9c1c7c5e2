"""The parts of a run: each consists of measurements in turn, and the table rows of their results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import call_counts, fairness, importing, kit_loading, measurements, overload
from bench.calculations import ratios
from bench.measurements import BACKLOG, COMMIT_TO_ACK, KIT_BYTES, KIT_RATE, RATE, Measurement, Metrics
from bench.report import COSTS, Goal, Row

_KIT_GOALS: Final = {KIT_RATE: Goal(1_000_000 / 60), KIT_BYTES: Goal(1000, at_least=False)}
_FRESHNESS_GOALS: Final = {
    f"{COMMIT_TO_ACK}, p50": Goal(10, at_least=False),
    f"{COMMIT_TO_ACK}, p99": Goal(50, at_least=False),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A value of `--only`; ``rows`` returns the table rows for the rounds of its measurements."""

    summary: str
    measurements: Sequence[Measurement]
    rows: Callable[[Sequence[Sequence[Metrics]]], list[Row]]


def _compare(
    label: str, baseline: str, goal: Goal | None
) -> Callable[[Sequence[Sequence[Metrics]]], list[Row]]:
    def rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
        service, reference = zip(*rounds, strict=True)
        rates = [[metrics["rate"] for metrics in side] for side in (service, reference)]
        return [
            Row(label, rates[0], ratios(*rates), goal, _costs(service)),
            Row(f"  {baseline}", rates[1], costs=_costs(reference)),
        ]

    return rows


def _costs(rounds: Sequence[Metrics]) -> dict[str, list[float]]:
    return {cost: [metrics[cost] for metrics in rounds] for cost in COSTS if cost in rounds[0]}


def _kit_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    found = [metrics for (metrics,) in rounds]
    return [Row(name, [metrics[name] for metrics in found], goal=goal) for name, goal in _KIT_GOALS.items()]


def _freshness_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    found = [metrics for (metrics,) in rounds]
    return [
        Row(f"{name}, ms", [metrics[name] for metrics in found], goal=_FRESHNESS_GOALS.get(name))
        for name in found[0]
    ]


def _backlog_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    def values(name: str) -> list[float]:
        return [metrics[name] for (metrics,) in rounds]

    return [
        Row(f"backlog of {BACKLOG} events, published per second", values("rate"), goal=Goal(10_000)),
        Row("  Kafka's return → first event, s", values("first")),
        Row("  new key meanwhile: request → consumer, p50, s", values("new p50")),
        Row(
            "  new key meanwhile: request → consumer, p99, s", values("new p99"), goal=Goal(5, at_least=False)
        ),
    ]


_CONSTANT_BYTES: Final = "aiohttp with constant bytes, per second"

PARTS: Final[Mapping[str, Part]] = {
    "creates": Part(
        "creates per second; baseline: pgbench writing the same rows in one statement",
        (measurements.creates, measurements.pgbench_creates),
        _compare("POST key, per second", "pgbench, the same rows, per second", Goal(0.5)),
    ),
    "get": Part(
        "reads of one key per second; baseline: aiohttp responding with as many constant bytes",
        (measurements.key_reads, measurements.constant_key_reads),
        _compare("GET key, per second", _CONSTANT_BYTES, Goal(0.5)),
    ),
    "list": Part(
        "reads of one page of ten keys per second; the same baseline",
        (measurements.page_reads, measurements.constant_page_reads),
        _compare("GET page of 10, per second", _CONSTANT_BYTES, Goal(0.3)),
    ),
    "lists": Part(
        "reads of pages of different projects per second, which share no query; the same baseline",
        (measurements.reads_of_many_pages, measurements.constant_page_reads),
        _compare("GET pages of 10, of 64 projects, per second", _CONSTANT_BYTES, None),
    ),
    "calls": Part(
        "Python modules and functions of the service that a create and a read call",
        (call_counts.measure,),
        call_counts.rows,
    ),
    "freshness": Part(
        f"times from a create to Kafka and to a consumer, at {RATE:.0f} creates per second on a schedule",
        (measurements.event_times,),
        _freshness_rows,
    ),
    "kit": Part(
        f"the consumer kit: loading {kit_loading.KEYS:,} keys (BENCH_KIT_KEYS), and their memory",
        (measurements.kit_loading_metrics,),
        _kit_rows,
    ),
    "import": Part(
        f"the command `import` with {importing.KEYS:,} keys",
        (importing.measure,),
        importing.rows,
    ),
    "overload": Part(
        "creates per second with far more clients than the concurrency limit, compared with the peak",
        (overload.measure,),
        overload.rows,
    ),
    "fairness": Part(
        "latency of one tenant's creates beside another tenant's load; baseline: the same creates alone",
        (fairness.measure,),
        fairness.rows,
    ),
    "backlog": Part(
        f"{BACKLOG:,} events after an outage of Kafka, while {RATE:.0f} keys per second are created",
        (measurements.backlog_recovery,),
        _backlog_rows,
    ),
}
