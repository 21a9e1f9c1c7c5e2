"""A broken promise."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """Which invariant is broken (`faults.checker` lists them), or which experiment's own bound, and how."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"
