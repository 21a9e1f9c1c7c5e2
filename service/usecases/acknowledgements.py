"""Waits until Kafka has acknowledged an event."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from service.concurrency.backoff import Backoff
from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow, shard_of
from service.postgres.database import Database
from service.postgres.outbox import is_unpublished

_MAX_RECENT: Final = 10_000
"""Number of acknowledged events that are stored for waits that start later; about 2 MB."""

_POLL: Final = Backoff(first=0.05, longest=0.5, factor=1.5, jitter=0)
"""Delays between reads of the outbox, for events that another process publishes."""


class Acknowledgements:
    """Tracks the events that this process has published, and polls the outbox for those of other processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[UUID, asyncio.Future[None]] = {}
        # To remove the first item of a dict takes longer with each item that was removed before.
        self._recent: OrderedDict[UUID, None] = OrderedDict()
        self._stopping = False

    def record_published(self, rows: Sequence[OutboxRow]) -> None:
        """Record that Kafka has acknowledged these rows."""
        for row in rows:
            self._recent[row.event.id] = None
            if self._waiting:  # few requests wait
                future = self._waiting.get(row.event.id)
                if future is not None and not future.done():
                    future.set_result(None)
        for _ in range(len(self._recent) - _MAX_RECENT):
            self._recent.popitem(last=False)

    def stop(self) -> None:
        """End every wait with False: the process is stopping."""
        self._stopping = True

    async def wait(self, event_id: UUID, public_key: str, *, seconds: float) -> bool:
        """Wait until Kafka acknowledges a committed event; return False after ``seconds`` or `stop`."""
        if event_id in self._recent:
            return True
        future = self._waiting.setdefault(event_id, asyncio.get_running_loop().create_future())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self._wait_or_poll(future, event_id, public_key)
        finally:
            self._waiting.pop(event_id, None)
        return False

    async def is_published(self, event_id: UUID, public_key: str) -> bool:
        """Return whether Kafka has acknowledged a committed event; False if Postgres is unavailable."""
        return event_id in self._recent or not await self._is_unpublished(event_id, public_key)

    async def _wait_or_poll(self, future: asyncio.Future[None], event_id: UUID, public_key: str) -> bool:
        attempt = 0
        while not self._stopping:
            attempt += 1
            await asyncio.wait([future], timeout=_POLL.delay(attempt))
            if future.done() or not await self._is_unpublished(event_id, public_key):
                return True
        return False

    async def _is_unpublished(self, event_id: UUID, public_key: str) -> bool:
        try:
            async with self._database.connection() as connection:
                return await is_unpublished(connection, shard=shard_of(public_key), event_id=event_id)
        except UnavailableError:
            return True
