"""The deadline of connections without a complete request head, and their limit for each client network."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Final, Protocol

_IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that identify a client's network: a client chooses the other bits itself."""


class NewConnection(Protocol):
    """A connection that is closed unless a request head arrives in time."""

    def force_close(self) -> None:
        """Close the connection."""


class NewConnections:
    """The connections of each client network, from their start to the end of their first request head.

    Behind a proxy, the limit applies to all connections together, because they have the same address.

    Args:
        limit: Connections of one IPv4 address or IPv6 network; 0 for no limit.
        timeout: Seconds in which the first request head must arrive.
        on_refuse: Called for each connection beyond the limit.
    """

    def __init__(self, limit: int, timeout: float, on_refuse: Callable[[], None]) -> None:
        self._limit = limit
        self._timeout = timeout
        self._on_refuse = on_refuse
        self._counts: dict[str, int] = {}
        self._timers: dict[NewConnection, tuple[str, asyncio.TimerHandle]] = {}

    def add(self, connection: NewConnection, address: str) -> bool:
        """Count ``connection``; return False if its network has reached the limit."""
        network = _client_network(address)
        count = self._counts.get(network, 0)
        if self._limit and count >= self._limit:
            self._on_refuse()
            return False
        self._counts[network] = count + 1
        timer = asyncio.get_running_loop().call_later(self._timeout, connection.force_close)
        self._timers[connection] = (network, timer)
        return True

    def remove(self, connection: NewConnection) -> None:
        """Stop counting ``connection``: its head has arrived, or it has ended. Do nothing if it is not counted."""
        if connection not in self._timers:
            return
        network, timer = self._timers.pop(connection)
        timer.cancel()
        self._counts[network] -= 1
        if not self._counts[network]:
            del self._counts[network]


def _client_network(address: str) -> str:
    """Return the IPv4 address, or the IPv6 network, of a client at ``address``."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))
