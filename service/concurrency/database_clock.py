"""The clock of the database, by which keys expire: the clocks of replicas differ from it and from each other."""

import time
from datetime import datetime, timedelta
from typing import Final

from service.domain.model import utc_now


class DatabaseClock:
    """The time of the database: the last one that was read, plus the time since then.

    Before the first reading it is the time of this process.
    """

    def __init__(self) -> None:
        self._last: tuple[datetime, float] | None = None

    def set(self, now: datetime) -> None:
        """Store the time that the database has just returned."""
        self._last = now, time.monotonic()

    def now(self) -> datetime:
        """Return the time of the database."""
        if self._last is None:
            return utc_now()
        read, since = self._last
        return read + timedelta(seconds=time.monotonic() - since)


DATABASE_CLOCK: Final = DatabaseClock()
"""The clock of this process's database; the task that disables expired keys sets it."""
