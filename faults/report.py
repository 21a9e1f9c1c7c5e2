"""The table at the end of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from faults.experiment import ExperimentResult, Plan

_MAX_SHOWN: Final = 10
_HEADINGS: Final = (
    "", "seed", "rounds", "seconds", "acknowledged", "lost", "phantom", "reordered", "duplicates", "drain",
    "available", "verdict", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """The end of an experiment.

    Attributes:
        outcome: What it found; None if it did not complete.
        reason: Why it did not complete.
        not_recovered: The service is the reason.
    """

    name: str
    plan: Plan
    outcome: ExperimentResult | None
    reason: str = ""
    not_recovered: bool = False

    @property
    def passed(self) -> bool:
        """Whether it completed without a violation."""
        return self.outcome is not None and not self.outcome.violations

    @property
    def failed(self) -> bool:
        """Whether the service violated an invariant or did not recover."""
        return self.not_recovered or (self.outcome is not None and not self.passed)


def table(results: Sequence[Result]) -> str:
    """Return one line for each experiment under the headings, and the violations below."""
    lines = [_HEADINGS, *(_cells(result) for result in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:-1], widths[1:-1]), line[-1]]).rstrip()
        for line in lines
    ]
    return "\n".join([*rows, *(line for result in results for line in _violations(result))])


def _cells(result: Result) -> tuple[str, ...]:
    outcome, plan = result.outcome, result.plan
    head = (result.name, str(plan.seed), str(plan.rounds))
    if outcome is None:
        return (*head, *("-",) * 8, "FAILED" if result.failed else "NOT RUN", result.reason)
    verdict = outcome.verdict
    return (
        *head,
        f"{outcome.seconds:.0f}",
        str(verdict.acknowledged),
        str(verdict.count("I1", "I2")),
        str(verdict.count("I3")),
        str(verdict.count("I4")),
        str(verdict.duplicates),
        f"{outcome.drain:.1f} s",
        f"{outcome.availability:.2%}",
        "passed" if result.passed else "FAILED",
        ", ".join(f"{name} {value}" for name, value in outcome.metrics.items()),
    )


def _violations(result: Result) -> list[str]:
    if result.outcome is None:
        return []
    found = result.outcome.violations
    shown = [f"{result.name}, seed {result.plan.seed}: {violation}" for violation in found[:_MAX_SHOWN]]
    rest = len(found) - len(shown)
    return [*shown, *([f"{result.name}: {rest} more violations"] if rest else [])]
