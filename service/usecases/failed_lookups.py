"""The limit of token look-ups that find nothing, for each client address."""

import ipaddress
import time
from collections.abc import Callable
from typing import Final

from service.domain.errors import TooManyUnknownTokensError

_IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that identify a client's network: a client chooses the other bits itself."""


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
        if address is not None and self._current().get(_network(address), 0) >= self._limit:
            raise TooManyUnknownTokensError

    def count(self, address: str | None) -> None:
        """Count a failed look-up of ``address``."""
        if address is None:
            return
        counts, network = self._current(), _network(address)
        if network not in counts and len(counts) >= self._addresses:
            counts.clear()
        counts[network] = counts.get(network, 0) + 1

    def _current(self) -> dict[str, int]:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._counts.clear()
        return self._counts


def _network(address: str) -> str:
    """Return the IPv4 address, or the IPv6 network, that ``address`` belongs to."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))
