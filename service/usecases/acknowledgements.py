"""Waiting until Kafka has an event."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.domain.partitioning import shard_of
from service.postgres.database import Database
from service.postgres.outbox import is_waiting

_REMEMBERED: Final = 10_000
"""Acknowledged events that are remembered, for whoever asks a moment later; some 2 MB."""

_FIRST_LOOK: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
"""Seconds between two looks into the table, for events that another process publishes."""


class Acknowledgements:
    """Hears of every event that this process has published, and looks into the outbox for the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[UUID, asyncio.Future[None]] = {}
        self._recent: dict[UUID, None] = {}
        self._ending = False

    def published(self, rows: Sequence[OutboxRow]) -> None:
        """Kafka has these."""
        for row in rows:
            self._recent[row.event.id] = None
            future = self._waiting.get(row.event.id)
            if future is not None and not future.done():
                future.set_result(None)
        for _ in range(len(self._recent) - _REMEMBERED):
            del self._recent[next(iter(self._recent))]

    def give_up(self) -> None:
        """Wait no longer, in any call: the process is about to end."""
        self._ending = True

    async def wait(self, event_id: UUID, public_key: str, *, seconds: float) -> bool:
        """Whether Kafka has the event of a committed change, or has it within ``seconds``."""
        if event_id in self._recent:
            return True
        future = self._waiting.setdefault(event_id, asyncio.get_running_loop().create_future())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self._heard_or_seen(future, event_id, public_key)
        finally:
            self._waiting.pop(event_id, None)
        return False

    async def _heard_or_seen(self, future: asyncio.Future[None], event_id: UUID, public_key: str) -> bool:
        pause = _FIRST_LOOK
        while not self._ending:
            await asyncio.wait([future], timeout=pause)
            if future.done() or not await self._is_waiting(event_id, public_key):
                return True
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return False

    async def _is_waiting(self, event_id: UUID, public_key: str) -> bool:
        try:
            async with self._database.connection() as connection:
                return await is_waiting(connection, shard=shard_of(public_key), event_id=event_id)
        except UnavailableError:
            return True
