"""The rate limit of each token, and the headers that report it.

The names of the headers are those of Sentry's API; clients derive the number of parallel requests from them.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from service.domain.model import Principal
from service.http.errors import HttpError
from service.http.server.response import header_lines

_UNLIMITED: Final = 1_000_000
"""The reported limit of a token that has none: clients require a number."""


class RateLimiter:
    """The number of requests of each token in the current second; each process counts alone.

    Args:
        concurrent_limit: The reported limit of requests in progress; `AdmissionControl` enforces it.
        clock: Returns seconds since 1970.
    """

    def __init__(self, concurrent_limit: int, *, clock: Callable[[], float] = time.time) -> None:
        self._concurrent_limit = concurrent_limit
        self._clock = clock
        self._second = -1
        self._counts: dict[int, int] = {}

    def count(self, principal: Principal) -> None:
        """Count a request of ``principal``.

        Raises:
            HttpError: 429 if the number of requests in this second has reached the limit of the token.
        """
        limit = principal.rate_limit
        if limit is None:
            return
        if int(self._clock()) != self._second:
            self._start_second()
        used = self._counts.get(principal.token_id, 0)
        if used >= limit:
            raise HttpError(
                429,
                f"You are attempting to use this endpoint too frequently. Limit is {limit} requests in 1 seconds",
                {"Retry-After": "1"},
            )
        self._counts[principal.token_id] = used + 1

    def header_lines(self, principal: Principal | None, *, free_slots: int) -> str:
        """Return the lines of the rate-limit headers of a response.

        Args:
            principal: The principal of the request; None before authentication.
            free_slots: How many more requests may be in progress; reported as at least 0 and at most the limit.
        """
        if int(self._clock()) != self._second:
            self._start_second()
        limit = remaining = _UNLIMITED
        if principal is not None and principal.rate_limit is not None:
            limit = principal.rate_limit
            remaining = limit - self._counts.get(principal.token_id, 0)
        free_slots = max(0, min(free_slots, self._concurrent_limit))
        return _header_lines(self._concurrent_limit, free_slots, limit, remaining, self._second + 1)

    def _start_second(self) -> None:
        self._second = int(self._clock())
        self._counts.clear()


@lru_cache(maxsize=1024)  # every response needs them; there are few combinations in a second
def _header_lines(concurrent_limit: int, concurrent_remaining: int, limit: int, remaining: int, reset: int) -> str:
    return header_lines(
        {
            "X-Sentry-Rate-Limit-ConcurrentLimit": str(concurrent_limit),
            "X-Sentry-Rate-Limit-Reset": str(reset),
            "X-Sentry-Rate-Limit-ConcurrentRemaining": str(concurrent_remaining),
            "X-Sentry-Rate-Limit-Limit": str(limit),
            "X-Sentry-Rate-Limit-Remaining": str(remaining),
        }
    )
