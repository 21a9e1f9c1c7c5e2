"""Whether a replica that lives through everything stays as it was: memory, descriptors, tasks, connections."""

import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

from faults.replica import Replica
from faults.violation import Violation

_SHARE: Final = 0.1
"""How much more is no growth."""

_ROOM: Final = (16, 8, 15, 4)
"""Nor is so much more, of each figure in its unit: MiB that the allocator keeps, what is under way at a moment."""

_WARM_UP: Final = 0.25
"""Share of the samples that are not compared: caches fill, the code is compiled."""

_FEWEST: Final = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a replica."""

    memory: float
    descriptors: float
    tasks: float
    connections: float


NAMES: Final = ("MiB of memory", "descriptors", "tasks", "connections to Postgres")


async def sample(replica: Replica) -> Sample:
    """A look; asks the replica.

    Raises:
        FaultError: it does not answer.
    """
    metrics = await replica.metrics()
    return Sample(
        round(replica.resident() / 2**20, 1),
        replica.descriptors(),
        metrics["tasks"],
        metrics["pool_connections"],
    )


def judge(samples: Sequence[Sample]) -> tuple[dict[str, str], list[Violation]]:
    """The figures, and what has grown: the last quarter against the one after the warm-up, their medians."""
    figures: dict[str, str] = {}
    grown = []
    warm = samples[int(len(samples) * _WARM_UP) :]
    part = max(1, len(warm) // 3)
    if len(warm) < _FEWEST:
        return {"samples": f"{len(samples)}, too few to judge"}, []
    columns = zip(*map(astuple, warm), strict=True)
    for name, room, column in zip(NAMES, _ROOM, columns, strict=True):
        first, last = statistics.median(column[:part]), statistics.median(column[-part:])
        figures[name] = f"{first:g} → {last:g}"
        if last > first * (1 + _SHARE) and last > first + room:
            grown.append(Violation("I8", f"{name} grew from {first:g} to {last:g}"))
    return figures, grown
