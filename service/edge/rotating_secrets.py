"""Secrets that are read again from their files while the process runs."""

import asyncio
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

import structlog

from service.environment import SettingsError, reread
from service.settings import EdgeProcessSettings

_OVERLAP: Final = 300.0
"""Seconds for which the previous value is accepted, too: those who send it, and other replicas, change later."""

_CHECK_INTERVAL: Final = 5.0

_log = structlog.get_logger(__name__)


class RotatingSecret:
    """A secret; after a change, the previous value is accepted for five minutes. ``clock`` returns seconds."""

    def __init__(self, value: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._values: tuple[bytes, ...] = (value.encode(),)
        self._clock = clock
        self._changed_at = -inf

    @property
    def current(self) -> bytes:
        """The present value."""
        return self._values[0]

    @property
    def accepted(self) -> tuple[bytes, ...]:
        """The values that are accepted, the present one first."""
        return self._values if self._clock() < self._changed_at + _OVERLAP else self._values[:1]

    def replace(self, value: str) -> None:
        """Set the value, unless it is the present one or empty."""
        if value and value.encode() != self.current:
            previous = (self.current,) if self.current else ()
            self._values, self._changed_at = (value.encode(), *previous), self._clock()


async def watch(settings: EdgeProcessSettings, secrets: Mapping[str, RotatingSecret]) -> None:
    """Replace the secrets of settings, by name, when their files change, until cancelled."""
    while True:
        await asyncio.sleep(_CHECK_INTERVAL)
        try:
            present = reread(settings)
        except SettingsError as error:
            _log.error("secrets_not_read", error=str(error))
            continue
        for name, secret in secrets.items():
            secret.replace(getattr(present, name))
