"""The parts of a run: each consists of measurements in turn, and the table rows of their results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import call_counts, edge, fairness, importing, kit_loading, measurements, overload, usage
from bench.calculations import ratios
from bench.measurements import (
    BACKLOGS,
    COMMIT_TO_ACK,
    KIT_BYTES,
    KIT_RATE,
    RATE,
    Measurement,
    Metrics,
    of_peer,
)
from bench.peers.running import EARLIER, GO, PLAIN, Peer
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


@dataclass(frozen=True, slots=True)
class Baseline:
    """A measurement beside the service's: the goals of the ratios of rates and of processor time."""

    label: str
    measure: Measurement
    goal: Goal | None = None
    cost_goal: Goal | None = None


def _compared(summary: str, label: str, measure: Measurement, *baselines: Baseline) -> Part:
    """Return a part that measures the service and the baselines in turn."""

    def rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
        service, *others = zip(*rounds, strict=True)
        found = [Row(label, _values(service, "rate"), costs=_costs(service))]
        for baseline, metrics in zip(baselines, others, strict=True):
            if all(metrics):  # the peer is available
                found.append(_baseline_row(baseline, service, metrics))
        return found

    return Part(summary, [measure, *(baseline.measure for baseline in baselines)], rows)


def _baseline_row(baseline: Baseline, service: Sequence[Metrics], metrics: Sequence[Metrics]) -> Row:
    costs = _costs(metrics)
    return Row(
        f"  {baseline.label}",
        _values(metrics, "rate"),
        ratios=ratios(_values(service, "rate"), _values(metrics, "rate")),
        goal=baseline.goal,
        costs=costs,
        cost_ratios=ratios(_values(service, "server"), costs["server"]) if "server" in costs else [],
        cost_goal=baseline.cost_goal,
    )


def _values(rounds: Sequence[Metrics], name: str) -> list[float]:
    return [metrics[name] for metrics in rounds]


def _costs(rounds: Sequence[Metrics]) -> dict[str, list[float]]:
    return {cost: _values(rounds, cost) for cost in COSTS if cost in rounds[0]}


def _kit_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    found = [metrics for (metrics,) in rounds]
    return [Row(name, [metrics[name] for metrics in found], goal=goal) for name, goal in _KIT_GOALS.items()]


def _freshness_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    found = [metrics for (metrics,) in rounds]
    return [
        Row(f"{name}, ms", [metrics[name] for metrics in found], goal=_FRESHNESS_GOALS.get(name)) for name in found[0]
    ]


def _backlog_rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    found = []
    for events, metrics in zip(BACKLOGS, zip(*rounds, strict=True), strict=True):
        rate, p99 = _values(metrics, "rate"), _values(metrics, "new p99")
        found += [
            Row(f"backlog of {events} events, published per second", rate, goal=Goal(20_000)),
            Row("  Kafka's return → first event, s", _values(metrics, "first")),
            Row("  new key meanwhile: request → consumer, p50, s", _values(metrics, "new p50")),
            Row("  new key meanwhile: request → consumer, p99, s", p99, goal=Goal(5, at_least=False)),
        ]
    return found


def _create(peer: Peer) -> list[str]:
    return [peer.create]


def _keys(peer: Peer) -> Sequence[str]:
    return peer.keys


_CONSTANT_BYTES: Final = "aiohttp with constant bytes"

PARTS: Final[Mapping[str, Part]] = {
    "creates": _compared(
        "creates per second; baselines: pgbench with two schemas, plain services, an earlier commit",
        "POST key, per second",
        measurements.creates,
        Baseline("pgbench, the same rows in the same schema", measurements.same_schema_creates),
        Baseline("pgbench, key and outbox in a plain schema", measurements.plain_schema_creates, Goal(0.55)),
        Baseline(PLAIN, of_peer(PLAIN, _create, 201), Goal(11)),
        Baseline(GO, of_peer(GO, _create, 201), Goal(0.95)),
        Baseline(EARLIER, of_peer(EARLIER, _create, 201), cost_goal=Goal(0.6, at_least=False)),
    ),
    "updates": _compared(
        "changes of keys per second; baseline: an earlier commit",
        "PUT key, per second",
        measurements.updates,
        Baseline(EARLIER, of_peer(EARLIER, lambda peer: peer.updates), cost_goal=Goal(0.35, at_least=False)),
    ),
    "get": _compared(
        "reads of a thousand keys per second; baselines: aiohttp responding with as many constant bytes, the peers",
        "GET key, per second",
        measurements.key_reads,
        Baseline(_CONSTANT_BYTES, measurements.constant_key_reads, Goal(0.6)),
        Baseline(PLAIN, of_peer(PLAIN, _keys)),
        Baseline(GO, of_peer(GO, _keys)),
        Baseline(EARLIER, of_peer(EARLIER, _keys), cost_goal=Goal(0.75, at_least=False)),
    ),
    "list": _compared(
        "reads of one page of ten keys per second; the same baselines",
        "GET page of 10, per second",
        measurements.page_reads,
        Baseline(_CONSTANT_BYTES, measurements.constant_page_reads, Goal(0.3)),
        Baseline(EARLIER, of_peer(EARLIER, lambda peer: peer.pages[:1]), cost_goal=Goal(0.75, at_least=False)),
    ),
    "lists": _compared(
        "reads of pages of different projects per second, which share no query; the same baselines",
        "GET pages of 10, of 64 projects, per second",
        measurements.reads_of_many_pages,
        Baseline(_CONSTANT_BYTES, measurements.constant_page_reads),
        Baseline(EARLIER, of_peer(EARLIER, lambda peer: peer.pages)),
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
    "usage": Part(
        f"counting of {usage.OUTCOMES:,} outcomes beside creates",
        (usage.measure,),
        usage.rows,
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
        f"{' and '.join(map(str, BACKLOGS))} events after an outage of Kafka, while {RATE:.0f} keys per second are "
        "created",
        [measurements.backlog_recovery(events) for events in BACKLOGS],
        _backlog_rows,
    ),
    "edge": Part(
        f"the edge: time until ready with {edge.KEYS:,} keys (BENCH_EDGE_KEYS), and their memory",
        (edge.start,),
        edge.start_rows,
    ),
    "decisions": Part(
        "decisions of the edge for proxies per second, in its process",
        (edge.decisions_in_process,),
        edge.decision_rows,
    ),
    "auth": _compared(
        "decisions of the edge for proxies per second over HTTP; baseline: aiohttp responding without a decision",
        "GET /auth of the edge, per second",
        edge.decisions_over_http,
        Baseline("aiohttp without a decision", edge.constant_responses, Goal(0.8)),
    ),
    "edge-changes": Part(
        f"times until the edge accepts a created key and refuses a disabled one, at {RATE:.0f} changes per second",
        (edge.freshness,),
        edge.freshness_rows,
    ),
}
