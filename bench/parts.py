"""The parts of a run: each is a few measurements that stand side by side, and the rows they make."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import crowds, fairness, kit, measures
from bench.figures import ratios
from bench.measures import BACKLOG, COMMIT_TO_ACK, KIT_BYTES, KIT_RATE, RATE, Figures, Measure
from bench.report import COSTS, Goal, Row

_KIT_GOALS: Final = {KIT_RATE: Goal(1_000_000 / 60), KIT_BYTES: Goal(1000, at_least=False)}
_FRESHNESS_GOALS: Final = {
    f"{COMMIT_TO_ACK}, p50": Goal(10, at_least=False),
    f"{COMMIT_TO_ACK}, p99": Goal(50, at_least=False),
}


@dataclass(frozen=True, slots=True)
class Part:
    """What `--only` can name; ``rows`` makes the table's lines from the rounds of each measurement."""

    summary: str
    measures: Sequence[Measure]
    rows: Callable[[Sequence[Sequence[Figures]]], list[Row]]


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


def _backlog_rows(rounds: Sequence[Sequence[Figures]]) -> list[Row]:
    def of(name: str) -> list[float]:
        return [figures[name] for (figures,) in rounds]

    return [
        Row(f"backlog of {BACKLOG} events, drained a second", of("rate"), goal=Goal(10_000)),
        Row("  Kafka's return → the first of them, s", of("first")),
        Row("  new key meanwhile: request → consumer, p50, s", of("new p50")),
        Row("  new key meanwhile: request → consumer, p99, s", of("new p99"), goal=Goal(5, at_least=False)),
    ]


PARTS: Final[Mapping[str, Part]] = {
    "creates": Part(
        "creates a second, against pgbench writing the same rows in one statement",
        (measures.creates, measures.floor_of_creates),
        _race("POST key, a second", "pgbench, the same rows, a second", Goal(0.5)),
    ),
    "get": Part(
        "reads of one key a second, against bare aiohttp answering as many constant bytes",
        (measures.gets, measures.bare_keys),
        _race("GET key, a second", "bare aiohttp, constant bytes, a second", Goal(0.5)),
    ),
    "list": Part(
        "reads of a page of ten keys a second, against the same",
        (measures.pages, measures.bare_pages),
        _race("GET page of 10, a second", "bare aiohttp, constant bytes, a second", Goal(0.3)),
    ),
    "lists": Part(
        "the same of different projects in turn, which share no read",
        (measures.pages_of_many, measures.bare_pages),
        _race("GET pages of 10, of 64 projects, a second", "bare aiohttp, constant bytes, a second", None),
    ),
    "freshness": Part(
        f"from a create to Kafka and to a consumer, at {RATE:.0f} creates a second that wait for nothing",
        (measures.times_of_events,),
        _freshness_rows,
    ),
    "kit": Part(
        f"the consumer kit loading {kit.KEYS:,} keys (BENCH_KIT_KEYS) and holding them",
        (measures.kit_loading,),
        _kit_rows,
    ),
    "overload": Part(
        "creates a second when far more are asked for than can be done, against the peak",
        (crowds.measure,),
        crowds.rows,
    ),
    "fairness": Part(
        "the latency of one tenant's creates beside another tenant's load, against the same alone",
        (fairness.measure,),
        fairness.rows,
    ),
    "backlog": Part(
        f"{BACKLOG} events after an outage of Kafka, while {RATE:.0f} keys a second are made",
        (measures.backlog_draining,),
        _backlog_rows,
    ),
}
