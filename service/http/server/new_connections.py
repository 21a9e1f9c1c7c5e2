"""Connections that have sent no complete request head: a deadline, and a limit for each address."""

import asyncio
from collections.abc import Callable
from typing import Protocol


class NewConnection(Protocol):
    """What is closed when no request head arrives in time."""

    def force_close(self) -> None:
        """Close it."""


class NewConnections:
    """Counts connections by address from their beginning to the end of their first request's head.

    Behind a proxy all of them have one address. Its connections leave the count as soon as they are used.

    Args:
        limit: connections of one address; 0 for no limit.
        timeout: seconds for the first head to arrive.
        on_refuse: called for each connection beyond the limit.
    """

    def __init__(self, limit: int, timeout: float, on_refuse: Callable[[], None]) -> None:
        self._limit = limit
        self._timeout = timeout
        self._on_refuse = on_refuse
        self._by_address: dict[str, int] = {}
        self._connections: dict[NewConnection, tuple[str, asyncio.TimerHandle]] = {}

    def add(self, connection: NewConnection, address: str) -> bool:
        """Count ``connection``; False if its address has as many as it may have."""
        number = self._by_address.get(address, 0)
        if self._limit and number >= self._limit:
            self._on_refuse()
            return False
        self._by_address[address] = number + 1
        timer = asyncio.get_running_loop().call_later(self._timeout, connection.force_close)
        self._connections[connection] = (address, timer)
        return True

    def remove(self, connection: NewConnection) -> None:
        """Count it no longer: its head has arrived, or it has ended; nothing if it is not counted."""
        counted = self._connections.pop(connection, None)
        if counted is None:
            return
        address, timer = counted
        timer.cancel()
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
