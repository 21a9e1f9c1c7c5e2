"""How often a token may ask, and the headers that tell of it.

The headers' names are those of Sentry's API: its clients read from them how many requests they may send at a time.
"""

import time
from collections.abc import Callable
from typing import Final

from multidict import CIMultiDict, istr

from service.domain.model import Caller
from service.http.refusals import Refusal

_UNLIMITED: Final = "1000000"
"""What is told where there is no limit: clients want a number."""

_CONCURRENT_REMAINING: Final = istr("X-Sentry-Rate-Limit-ConcurrentRemaining")
_LIMIT: Final = istr("X-Sentry-Rate-Limit-Limit")
_REMAINING: Final = istr("X-Sentry-Rate-Limit-Remaining")


class RateLimits:
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
        # What all answers of a second have in common; copying it costs a fraction of setting each.
        self._usual = CIMultiDict(
            {
                "X-Sentry-Rate-Limit-ConcurrentLimit": str(most_at_once),
                _LIMIT: _UNLIMITED,
                _REMAINING: _UNLIMITED,
            }
        )

    def count(self, caller: Caller) -> None:
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
            raise Refusal(
                429,
                "You are attempting to use this endpoint too frequently. "
                f"Limit is {limit} requests in 1 seconds",
                {"Retry-After": "1"},
            )
        self._counts[caller.token_id] = used + 1

    def tell(self, headers: CIMultiDict[str], caller: Caller | None, *, in_flight: int) -> None:
        """Add what is left to an answer's headers.

        Args:
            headers: those.
            caller: whose request it was; None where nobody knows.
            in_flight: requests that are being answered besides.
        """
        self._turn()
        headers.update(self._usual)
        headers[_CONCURRENT_REMAINING] = str(max(0, self._most_at_once - in_flight))
        if caller is not None and caller.rate_limit is not None:
            headers[_LIMIT] = str(caller.rate_limit)
            headers[_REMAINING] = str(caller.rate_limit - self._counts.get(caller.token_id, 0))

    def _turn(self) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._counts.clear()
            self._usual["X-Sentry-Rate-Limit-Reset"] = str(second + 1)
