"""The table at the end of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from faults.trial import Figures, Plan

_MOST_SHOWN: Final = 10
_HEADINGS: Final = (
    "", "seed", "rounds", "seconds", "acknowledged", "lost", "phantom", "reordered", "duplicates", "drain",
    "available", "verdict", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """An experiment's end; ``figures`` is None where it came to none, and ``why`` says why.

    ``failed``: the service is to blame for that.
    """

    name: str
    plan: Plan
    figures: Figures | None
    why: str = ""
    failed: bool = False

    @property
    def passed(self) -> bool:
        """Nothing was violated."""
        return self.figures is not None and not self.figures.violations


def table(results: Sequence[Result]) -> str:
    """A line for each experiment under the headings, and the violations below."""
    lines = [_HEADINGS, *(_cells(one) for one in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:-1], widths[1:-1]), line[-1]]).rstrip()
        for line in lines
    ]
    return "\n".join([*rows, *(line for one in results for line in _violations(one))])


def _cells(result: Result) -> tuple[str, ...]:
    found, plan = result.figures, result.plan
    head = (result.name, str(plan.seed), str(plan.rounds))
    if found is None:
        return (*head, *("-",) * 8, "FAILED" if result.failed else "NOT RUN", result.why)
    verdict = found.verdict
    return (
        *head,
        f"{found.seconds:.0f}",
        str(verdict.acknowledged),
        str(verdict.count("I1", "I2")),
        str(verdict.count("I3")),
        str(verdict.count("I4")),
        str(verdict.duplicates),
        f"{found.drain:.1f} s",
        f"{found.availability:.2%}",
        "passed" if result.passed else "FAILED",
        ", ".join(f"{name} {value}" for name, value in found.own.items()),
    )


def _violations(result: Result) -> list[str]:
    if result.figures is None:
        return []
    found = result.figures.violations
    shown = [f"{result.name}, seed {result.plan.seed}: {one}" for one in found[:_MOST_SHOWN]]
    rest = len(found) - len(shown)
    return [*shown, *([f"{result.name}: and {rest} more"] if rest else [])]
