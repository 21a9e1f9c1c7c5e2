"""The state of publishing, for people."""

from collections.abc import Callable
from typing import Any, Final

from service.concurrency.ttl_cache import TtlCache
from service.postgres.database import Database
from service.postgres.outbox_admin import select_backlog

_KEPT_SECONDS: Final = 2.0


class PublishingStatus:
    """The events that are not published yet, counted about every 2 s; ``is_reachable`` is about Kafka."""

    def __init__(self, database: Database, is_reachable: Callable[[], bool]) -> None:
        self._database = database
        self._is_reachable = is_reachable
        self._cache = TtlCache[None, tuple[dict[int, tuple[int, float]], int]](seconds=_KEPT_SECONDS, max_size=1)

    async def get(self) -> dict[str, Any]:
        """Return whether Kafka is reachable, the age of the oldest event (seconds) and the number of parked events.

        Raises:
            UnavailableError: The database is unavailable.
        """
        backlog = self._cache.get(None)
        if backlog is None:
            async with self._database.connection() as connection:
                backlog = await select_backlog(connection)
            self._cache.put(None, backlog)
        shards, parked = backlog
        return {
            "kafka": "ok" if self._is_reachable() else "unavailable",
            "oldestEventAgeSeconds": round(max((age for _, age in shards.values()), default=0.0), 1),
            "parked": parked,
        }
