"""When tokens were used last: written off the way of requests, at most once a minute for each."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.postgres.database import Database
from service.postgres.tokens import TokenRow, note_use

_log = structlog.get_logger(__name__)

_EVERY: Final = timedelta(minutes=1)

_MOST: Final = 10_000
"""Tokens whose use waits to be written; that of others is told of when they are used again."""


class TokenUsage:
    """Gathers uses until `write` writes them; ``clock`` tells the time."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock
        self._waiting: set[int] = set()
        self._some = asyncio.Event()

    def note(self, token: TokenRow) -> None:
        """``token`` is used now."""
        last = token.last_used_at
        if (last is None or last <= self._clock() - _EVERY) and len(self._waiting) < _MOST:
            self._waiting.add(token.id)
            self._some.set()

    async def write(self) -> None:
        """Write uses as they come, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            await self.write_waiting()

    async def write_waiting(self) -> None:
        """Write the uses that wait; what cannot be written is dropped: the next use tells it."""
        used, self._waiting = sorted(self._waiting), set()
        try:
            async with self._database.connection() as connection:
                await note_use(connection, used, unless_within=_EVERY)
        except UnavailableError as error:
            _log.info("token_uses_not_written", tokens=len(used), error=str(error))
