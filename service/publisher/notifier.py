"""Publishers of different processes wake each other by LISTEN and NOTIFY: a short cut past the poll."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.postgres.database import Database
from service.postgres.outbox import ROWS_CAME, notify_publishers
from service.postgres.shards import SHARDS_CAME_FREE

_log = structlog.get_logger(__name__)

_DEBOUNCE: Final = 0.01
"""Seconds in which many commits give one NOTIFY: it holds a lock of the whole cluster."""

_RECONNECT: Final = 5.0
"""Seconds between two tries to listen; until then the poll does the work."""

_CHECK: Final = 10.0
"""Seconds between two looks whether the listening connection still lives."""


class Wakeup:
    """Listens for other processes and tells them.

    Args:
        database: where both happen.
        rows_came: is called when another process has written rows that may be this one's to publish.
        shards_came_free: is called when another process has given shards back.
    """

    def __init__(
        self, database: Database, *, rows_came: Callable[[], None], shards_came_free: Callable[[], None]
    ) -> None:
        self._database = database
        self._heard = {ROWS_CAME: rows_came, SHARDS_CAME_FREE: shards_came_free}
        self._telling: asyncio.Task[None] | None = None

    def tell_others(self) -> None:
        """Rows were committed that another process publishes."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        await asyncio.sleep(_DEBOUNCE)
        try:
            async with self._database.connection() as connection:
                await notify_publishers(connection)
        except UnavailableError as error:
            _log.info("publishers_not_notified", error=str(error))

    async def run(self) -> None:
        """Listen until cancelled; without a way to listen, wait."""
        while self._database.takes_notifications:
            try:
                await self._listen()
            except UnavailableError as error:
                _log.info("not_listening", error=str(error), retry_in=_RECONNECT)
            await asyncio.sleep(_RECONNECT)
        await asyncio.Event().wait()

    async def _listen(self) -> None:
        async with self._database.listening(self._heard) as alive:
            while await alive():
                await asyncio.sleep(_CHECK)

    async def close(self) -> None:
        """Give up a NOTIFY that is about to be sent."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
