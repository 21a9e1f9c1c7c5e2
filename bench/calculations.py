"""Statistics of measurements."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A summary of the values of several rounds."""

    median: float
    minimum: float
    maximum: float


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of ``values``, which are not empty."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(measured: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Return the ratio of each round: a disturbance of the machine affects both values of a round."""
    return [value / reference for value, reference in zip(measured, baseline, strict=True)]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of ``values`` that is not below a ``share`` of them (0 to 1)."""
    ranked = sorted(values)
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)]


def bucket_quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float:
    """Return a quantile of a histogram, interpolated linearly within its bucket.

    Args:
        bounds: The upper bounds of the buckets, ascending.
        counts: The number of values at or below each bound.
        share: 0 to 1.

    Raises:
        ValueError: The histogram is empty.
    """
    wanted = share * counts[-1]
    lower, below = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= wanted and count > below:
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    raise ValueError("an empty histogram has no quantiles")
