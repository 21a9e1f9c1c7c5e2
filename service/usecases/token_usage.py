"""Records in the background when tokens were last used, at most once a minute per token."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.domain.model import utc_now
from service.domain.tokens import TokenRow
from service.postgres.database import Database
from service.postgres.tokens import note_use

_log = structlog.get_logger(__name__)

_INTERVAL: Final = timedelta(minutes=1)
"""Minimum time between two recorded uses of a token."""

_MAX_PENDING: Final = 10_000
"""Maximum number of tokens whose use is not written yet; uses of further tokens are not recorded."""


class TokenUsage:
    """Collects uses of tokens until `write` stores them; ``clock`` returns the current time."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._pending: set[int] = set()
        self._has_pending = asyncio.Event()

    def record(self, token: TokenRow) -> None:
        """Record that ``token`` is used now."""
        last = token.last_used_at
        if (last is None or last <= self._clock() - _INTERVAL) and len(self._pending) < _MAX_PENDING:
            self._pending.add(token.id)
            self._has_pending.set()

    async def write(self) -> None:
        """Write recorded uses until the task is cancelled."""
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            await self.write_pending()

    async def write_pending(self) -> None:
        """Write the recorded uses; they are discarded if the database is unavailable."""
        used, self._pending = sorted(self._pending), set()
        try:
            async with self._database.connection() as connection:
                await note_use(connection, used, unless_within=_INTERVAL)
        except UnavailableError as error:
            _log.info("token_uses_not_written", tokens=len(used), error=str(error))
