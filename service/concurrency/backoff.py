"""Exponential backoff with jitter."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_MAX_EXPONENT: Final = 100
"""Keeps the power below the largest float, however many attempts there were."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts; the caller counts the attempts.

    Attributes:
        first: The longest delay after the first attempt, in seconds.
        longest: The longest delay after any attempt, in seconds.
        factor: Growth of the delay with each further attempt.
        jitter: The random part of each delay, from 0 (none) to 1 (all): replicas that fail together retry apart.
        random: Returns a number from 0 up to 1.
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
