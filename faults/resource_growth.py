"""Whether a replica that runs through all faults uses more and more memory, descriptors, tasks or connections."""

import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

from faults.violation import Violation
from testkit.replica import Replica

_RELATIVE_TOLERANCE: Final = 0.1
"""The share of an increase that counts as no growth."""

_ABSOLUTE_TOLERANCES: Final = (16, 8, 15, 4)
"""Increases that count as no growth, in the unit of each column: memory kept by the allocator, running requests."""

_WARM_UP: Final = 0.25
"""Share of the samples that are not compared: caches fill."""

_MIN_SAMPLES: Final = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """The resources of a replica at one time."""

    memory: float
    descriptors: float
    tasks: float
    connections: float


NAMES: Final = ("MiB of memory", "descriptors", "tasks", "connections to Postgres")


async def take_sample(replica: Replica) -> Sample:
    """Return the resources of a replica now.

    Raises:
        ReplicaError: It does not respond.
    """
    metrics = await replica.metrics()
    return Sample(
        round(replica.process.resident_memory() / 2**20, 1),
        replica.process.open_descriptors(),
        metrics["tasks"],
        metrics["pool_connections"],
    )


def find_growth(samples: Sequence[Sample]) -> tuple[dict[str, str], list[Violation]]:
    """Compare the medians of the first and the last third after the warm-up.

    Returns:
        The metrics by name, and a violation for each column that grew.
    """
    metrics: dict[str, str] = {}
    grown = []
    warm = samples[int(len(samples) * _WARM_UP) :]
    part = max(1, len(warm) // 3)
    if len(warm) < _MIN_SAMPLES:
        return {"samples": f"{len(samples)}, too few to compare"}, []
    columns = zip(*map(astuple, warm), strict=True)
    for name, tolerance, column in zip(NAMES, _ABSOLUTE_TOLERANCES, columns, strict=True):
        first, last = statistics.median(column[:part]), statistics.median(column[-part:])
        metrics[name] = f"{first:g} → {last:g}"
        if last > first * (1 + _RELATIVE_TOLERANCE) and last > first + tolerance:
            grown.append(Violation("I8", f"{name} grew from {first:g} to {last:g}"))
    return metrics, grown
