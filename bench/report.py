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
    """A row of the table; the row of a baseline is indented and has the ratios of the service to it.

    Attributes:
        label: What was measured.
        values: One value for each round.
        ratios: The service's value divided by this one, by round; empty without a comparison.
        goal: The goal of the ratio, or of the value without a comparison.
        costs: Microseconds of processor time per request, by program.
        cost_ratios: The service's processor time divided by that of this row's server, by round.
        cost_goal: The goal of ``cost_ratios``.
    """

    label: str
    values: Sequence[float]
    ratios: Sequence[float] = field(default_factory=list)
    goal: Goal | None = None
    costs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    cost_ratios: Sequence[float] = field(default_factory=list)
    cost_goal: Goal | None = None


_INTEGERS_FROM: Final = 100.0
_HEADINGS: Final = (
    *("", "median", "min-max", "ratio", "min-max", "goal"),
    *(f"{cost} µs" for cost in COSTS),
    *("µs ratio", "min-max", "goal"),
)


def table(rows: Sequence[Row]) -> str:
    """Return the aligned rows under their headings."""
    lines = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table with the columns that have a value."""
    lines = [("metric", *_HEADINGS[1:]), *(_cells(row) for row in rows)]
    used = [column for column in zip(*lines, strict=True) if any(column[1:])]
    head, *body = zip(*used, strict=True)
    rules = ["---", *("---:" for _ in head[1:])]
    # Two no-break spaces indent a baseline: Markdown removes leading spaces.
    cells = [[line[0].replace("  ", "\N{NO-BREAK SPACE}" * 2), *line[1:]] for line in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rules, *cells])


def _cells(row: Row) -> tuple[str, ...]:
    values = spread(row.values)
    costs = (
        f"{spread(row.costs[cost]).median:,.0f}".replace(",", " ") if cost in row.costs else "" for cost in COSTS
    )
    return (
        row.label,
        number(values.median),
        _range(values),
        *_ratio_cells(row.ratios),
        _verdict(row.goal, row.ratios or row.values),
        *costs,
        *_ratio_cells(row.cost_ratios),
        _verdict(row.cost_goal, row.cost_ratios),
    )


def _ratio_cells(ratios: Sequence[float]) -> tuple[str, str]:
    if not ratios:
        return "", ""
    found = spread(ratios)
    return f"{found.median:.2f}", f"{found.minimum:.2f}-{found.maximum:.2f}"


def _verdict(goal: Goal | None, values: Sequence[float]) -> str:
    if goal is None:
        return ""
    return f"{goal} {'reached' if goal.met(spread(values).median) else 'MISSED'}"


def _range(values: Spread) -> str:
    return f"{number(values.minimum)}-{number(values.maximum)}"


def number(value: float) -> str:
    """Return a value with one decimal, or as an integer with separated thousands."""
    return f"{value:.1f}" if value < _INTEGERS_FROM else f"{value:,.0f}".replace(",", " ")
