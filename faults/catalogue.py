"""All experiments, by their numbers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from faults.experiments import e01_replica_killed
from faults.trial import Figures, Plan
from faults.world import World


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is done, how often unless asked otherwise, and the function that does it."""

    summary: str
    rounds: int
    run: Callable[[World, Plan], Awaitable[Figures]]


EXPERIMENTS: Final[Mapping[str, Experiment]] = {
    "E1": Experiment("a replica is killed at a random moment", 20, e01_replica_killed.run),
}
