"""A violated invariant."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A violated invariant (`faults.checker` lists them) or an exceeded bound of an experiment, with details."""

    invariant: str
    details: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.details}"
