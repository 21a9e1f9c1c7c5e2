"""Outages of a dependency: one backoff for all who connect to it, and one log event at its start and at its end."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from service.concurrency.backoff import Backoff

_log = structlog.get_logger(__name__)

_RETRY: Final = Backoff(first=0.1, longest=1.0)
"""Delays between two attempts to connect, of whatever part of the process: after an outage of any length the service
has a connection again within 1 s."""

_REMINDER: Final = Backoff(first=30.0, longest=600.0, jitter=0.0)
"""Delays between two log events of one outage."""


class Outage:
    """The outage of one dependency, or its absence.

    ``reason`` is that of the last failure.

    Args:
        dependency: The prefix of the log events; empty for commands, which report errors themselves.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, dependency: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._dependency = dependency
        self._clock = clock
        self._attempts = self._reports = 0
        self._began_at = self._retry_at = self._report_at = 0.0
        self.reason = ""

    @property
    def ongoing(self) -> bool:
        """Whether the last attempt to connect failed."""
        return self._attempts > 0

    @property
    def seconds_left(self) -> float:
        """The rest of the backoff, before the next attempt to connect; 0 if it is over."""
        return max(0.0, self._retry_at - self._clock()) if self.ongoing else 0.0

    def failed(self, reason: str, *, host: str, port: str) -> None:
        """Record an attempt that failed; attempts that run at the same time count as one."""
        now = self._clock()
        if now < self._retry_at:
            return
        if not self.ongoing:
            self._began_at = self._report_at = now
        self._attempts += 1
        self.reason = reason
        delay = _RETRY.delay(self._attempts)
        self._retry_at = now + delay
        if now >= self._report_at:
            self._reports += 1
            self._report_at = now + _REMINDER.delay(self._reports)
            values = {"host": host, "port": port, "reason": reason, "attempt": self._attempts}
            self._report("unavailable", **values, retry_in_seconds=round(delay, 2))

    def ended(self) -> None:
        """Record an attempt that succeeded."""
        if self.ongoing:
            seconds = round(self._clock() - self._began_at, 1)
            self._report("recovered", after_seconds=seconds, attempts=self._attempts)
            self._attempts = self._reports = 0
            self._retry_at = 0.0

    def _report(self, state: str, **values: object) -> None:
        if self._dependency:
            _log.warning(f"{self._dependency}_{state}", **values)
