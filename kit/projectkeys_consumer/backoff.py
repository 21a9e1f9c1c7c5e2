"""Exponential backoff with jitter, for every loop that retries."""

import asyncio
import random
from typing import Final

INITIAL_DELAY: Final = 0.1
"""Seconds before the first retry."""

MAX_DELAY: Final = 5.0
"""Seconds; an available broker is noticed within this time."""

_MAX_DOUBLINGS: Final = 6
"""Doublings after which the delay has reached its maximum."""


class Backoff:
    """The delays between the attempts of one operation."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Start again with the initial delay, after a success."""
        self._failures = 0

    async def wait(self) -> None:
        """Sleep for half to the whole of the current delay, and double the delay for the next call."""
        delay = min(INITIAL_DELAY * 2**self._failures, MAX_DELAY)
        self._failures = min(self._failures + 1, _MAX_DOUBLINGS)
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 -- jitter is no secret
