"""Work that goes on beside the requests: it begins again after a fault, and is never silent about one."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from prometheus_client import Counter

_log = structlog.get_logger(__name__)

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
"""Seconds before work begins again, at first and at most; twice as many after each fault that follows soon."""

Work = Callable[[], Awaitable[None]]


@asynccontextmanager
async def background(name: str, work: Work, restarts: Counter) -> AsyncIterator[None]:
    """``work`` goes on until the end of the block, or until it returns.

    Args:
        name: what people know it by, in the log and as the counter's label.
        work: begins it.
        restarts: counts its faults.
    """
    task = asyncio.create_task(_kept_going(name, work, restarts))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _kept_going(name: str, work: Work, restarts: Counter) -> None:
    pause = _FIRST_PAUSE
    while True:
        started = time.monotonic()
        try:
            return await work()
        except Exception:  # noqa: BLE001 -- whatever it is, the work must go on
            if time.monotonic() - started > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            _log.exception("background_failed", work=name, restart_in=pause)
            restarts.labels(name).inc()
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 -- spreads replicas, hides nothing
        pause = min(pause * 2, _LONGEST_PAUSE)
