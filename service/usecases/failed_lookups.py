"""The limit of token look-ups that find nothing, for each client address."""

import time
from collections.abc import Callable

from service.domain.client_network import client_network
from service.domain.errors import TooManyUnknownTokensError


class FailedLookups:
    """Counts, in the current second, the look-ups of each client address that found no token.

    Only failed look-ups count, and the count is per process.

    Args:
        limit: failed look-ups per second and address; further ones raise an error before the look-up.
        addresses: addresses counted at a time. Beyond that, all counts start from 0 again.
        clock: seconds that only grow.
    """

    def __init__(self, *, limit: int, addresses: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._addresses = addresses
        self._clock = clock
        self._second = -1
        self._counts: dict[str, int] = {}

    def check(self, address: str | None) -> None:
        """Raise an error if ``address`` has reached the limit; None has no limit.

        Raises:
            TooManyUnknownTokensError: it has.
        """
        if address is not None and self._current().get(client_network(address), 0) >= self._limit:
            raise TooManyUnknownTokensError

    def count(self, address: str | None) -> None:
        """Count a failed look-up of ``address``."""
        if address is None:
            return
        counts, network = self._current(), client_network(address)
        if network not in counts and len(counts) >= self._addresses:
            counts.clear()
        counts[network] = counts.get(network, 0) + 1

    def _current(self) -> dict[str, int]:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._counts.clear()
        return self._counts
