"""The arithmetic of measurements."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds say together."""

    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours against theirs, round by round: what disturbs a round disturbs both its halves."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def quantile(values: Sequence[float], share: float) -> float:
    """The least of ``values`` that is not below a ``share`` of them (0 to 1)."""
    ranked = sorted(values)
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)]


def bucket_quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float:
    """A quantile of a histogram, interpolated within its bucket as if that were evenly filled.

    Args:
        bounds: the buckets' upper bounds, ascending.
        counts: how many values are at or below each bound.
        share: 0 to 1.
    """
    wanted = share * counts[-1]
    lower, below = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= wanted and count > below:
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    raise ValueError("an empty histogram has no quantiles")
