"""How often a token may ask, and the headers that tell of it.

The headers' names are those of Sentry's API: its clients read from them how many requests they may send at a time.
"""

import time
from collections.abc import Callable
from typing import Final

from service.domain.model import Principal
from service.http.errors import HttpError
from service.http.server.response import header_lines

_UNLIMITED: Final = "1000000"
"""What is told where there is no limit: clients want a number."""


class RateLimiter:
    """Counts each token's requests in the present second, in this process alone.

    Args:
        most_at_once: requests that the service answers at a time; more get 503.
        clock: seconds since 1970.
    """

    def __init__(self, most_at_once: int, *, clock: Callable[[], float] = time.time) -> None:
        self._most_at_once = most_at_once
        self._clock = clock
        self._second = -1
        self._counts: dict[int, int] = {}
        # What all answers of a second have in common, made once: every answer pays for the rest.
        self._of_second = ""

    def count(self, caller: Principal) -> None:
        """Count a request.

        Raises:
            Refusal: 429; the caller's token has none left in this second.
        """
        limit = caller.rate_limit
        if limit is None:
            return
        self._turn()
        used = self._counts.get(caller.token_id, 0)
        if used >= limit:
            raise HttpError(
                429,
                "You are attempting to use this endpoint too frequently. "
                f"Limit is {limit} requests in 1 seconds",
                {"Retry-After": "1"},
            )
        self._counts[caller.token_id] = used + 1

    def headers(self, caller: Principal | None, *, in_flight: int) -> str:
        """What is left, as the lines of an answer's head.

        Args:
            caller: whose request it was; None where nobody knows.
            in_flight: requests that are being answered besides.
        """
        self._turn()
        limit = remaining = _UNLIMITED
        if caller is not None and caller.rate_limit is not None:
            limit = str(caller.rate_limit)
            remaining = str(caller.rate_limit - self._counts.get(caller.token_id, 0))
        return (
            f"{self._of_second}X-Sentry-Rate-Limit-ConcurrentRemaining: {max(0, self._most_at_once - in_flight)}\r\n"
            f"X-Sentry-Rate-Limit-Limit: {limit}\r\nX-Sentry-Rate-Limit-Remaining: {remaining}\r\n"
        )

    def _turn(self) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._counts.clear()
            self._of_second = header_lines(
                {
                    "X-Sentry-Rate-Limit-ConcurrentLimit": str(self._most_at_once),
                    "X-Sentry-Rate-Limit-Reset": str(second + 1),
                }
            )
