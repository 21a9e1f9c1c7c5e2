"""Exponential backoff with jitter."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_MAX_EXPONENT: Final = 100
"""The largest exponent of ``factor``, so that the power does not overflow."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts; the caller counts the attempts.

    Attributes:
        first: The maximum delay after the first attempt, in seconds.
        longest: The maximum delay after any attempt, in seconds.
        factor: The factor by which the delay grows with each attempt.
        jitter: The random share of each delay, from 0 (none) to 1 (all), so that replicas do not retry together.
        random: Returns a number from 0 (included) to 1 (excluded).
    """

    first: float
    longest: float
    factor: float = 2.0
    jitter: float = 0.5
    random: Callable[[], float] = random.random

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number ``attempt``, counted from 1."""
        exponent = min(attempt - 1, _MAX_EXPONENT)
        bound = min(self.first * self.factor**exponent, self.longest)
        return bound * (1 - self.jitter + self.jitter * self.random())
