"""Wakes publishers of different processes by LISTEN and NOTIFY, so that they do not wait for the next poll."""

import asyncio
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.publisher.owned_shards import OwnedShards
from service.publisher.protocols import OutboxStore
from service.publisher.signals import Signals

_log = structlog.get_logger(__name__)

_DEBOUNCE: Final = 0.01
"""Seconds in which commits are collected for one NOTIFY, which takes a lock of the whole cluster."""

_RECONNECT_INTERVAL: Final = 5.0
"""Seconds between two attempts to listen; without notifications rows are found by polling."""

_CHECK_INTERVAL: Final = 10.0
"""Seconds between two checks of the listening connection."""


class Notifier:
    """Receives notifications and sends them.

    Args:
        store: The database's notifications.
        shards: The queues for which a read is requested when another process has committed rows.
        signals: The events that wake the loops of the publisher.
    """

    def __init__(self, store: OutboxStore, shards: OwnedShards, signals: Signals) -> None:
        self._store = store
        self._shards = shards
        self._signals = signals
        self._notification: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Notify other processes of rows that were committed here, a few milliseconds later."""
        if self._notification is None or self._notification.done():
            self._notification = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        await asyncio.sleep(_DEBOUNCE)
        try:
            await self._store.notify_publishers()
        except UnavailableError as error:
            _log.log(error.log_level, "publishers_not_notified", error=str(error))

    async def run(self) -> None:
        """Listen until cancelled; only wait if the connection does not support LISTEN."""
        while self._store.can_listen:
            try:
                await self._listen()
            except UnavailableError as error:
                _log.log(
                    error.log_level,
                    "postgres_listen_failed",
                    error=str(error),
                    retry_in_seconds=_RECONNECT_INTERVAL,
                )
            await asyncio.sleep(_RECONNECT_INTERVAL)
        await asyncio.Event().wait()

    async def _listen(self) -> None:
        async with self._store.listen(
            rows_committed=self._rows_committed, shards_released=self._signals.leases.set
        ) as is_connected:
            while await is_connected():
                await asyncio.sleep(_CHECK_INTERVAL)

    def _rows_committed(self) -> None:
        self._shards.request_reads()
        self._signals.outbox.set()

    async def close(self) -> None:
        """Cancel a NOTIFY that was not sent yet."""
        if self._notification is not None:
            self._notification.cancel()
            await asyncio.wait([self._notification])
