"""The table of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.calculations import Spread, spread

COSTS: Final = ("server", "client", "postgres", "kafka")
"""The programs whose processor time is measured; the columns of the table in this order."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a metric: at least ``bound``, or less than it."""

    bound: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Return whether ``value`` reaches the goal."""
        return value >= self.bound if self.at_least else value < self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '<'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        label: What was measured.
        values: One value for each round.
        ratios: The ratio to the baseline of each round; empty without a baseline.
        goal: The goal of the ratio, or of the value without a baseline.
        costs: Microseconds of processor time per request, by program.
    """

    label: str
    values: Sequence[float]
    ratios: Sequence[float] = ()
    goal: Goal | None = None
    costs: Mapping[str, Sequence[float]] = field(default_factory=dict)


_INTEGERS_FROM: Final = 100.0
_HEADINGS: Final = ("", "median", "min-max", "ratio", "min-max", "goal", *(f"{cost} µs" for cost in COSTS))


def table(rows: Sequence[Row]) -> str:
    """Return the aligned rows under their headings."""
    lines = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    values = spread(row.values)
    ratio = spread(row.ratios) if row.ratios else None
    costs = [f"{spread(row.costs[cost]).median:.0f}" if cost in row.costs else "" for cost in COSTS]
    return (
        row.label,
        _number(values.median),
        _range(values),
        "" if ratio is None else f"{ratio.median:.2f}",
        "" if ratio is None else f"{ratio.minimum:.2f}-{ratio.maximum:.2f}",
        "" if row.goal is None else _verdict(row.goal, (ratio or values).median),
        *costs,
    )


def _verdict(goal: Goal, value: float) -> str:
    return f"{goal} {'reached' if goal.met(value) else 'MISSED'}"


def _range(values: Spread) -> str:
    return f"{_number(values.minimum)}-{_number(values.maximum)}"


def _number(value: float) -> str:
    return f"{value:.1f}" if value < _INTEGERS_FROM else f"{value:,.0f}".replace(",", " ")
