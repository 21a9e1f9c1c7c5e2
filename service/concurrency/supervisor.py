"""Runs background tasks; logs, counts and restarts those that fail."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from prometheus_client import Counter

from service.concurrency.backoff import Backoff

_log = structlog.get_logger(__name__)

RESTART_BACKOFF: Final = Backoff(first=0.5, longest=30.0)
"""Delays before restarts; after a run longer than the longest delay, they start with the first delay again."""

Work = Callable[[], Awaitable[None]]
"""Runs a background task until it is cancelled, or returns when it is done."""


@asynccontextmanager
async def supervised(name: str, work: Work, restarts: Counter) -> AsyncIterator[None]:
    """Run ``work`` during the block; restart it when it raises.

    Args:
        name: The name of the task in the log and in the label of ``restarts``.
        work: Runs the task; it is cancelled at the end of the block.
        restarts: Counts failures by task.
    """
    task = asyncio.create_task(_run(name, work, restarts))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _run(name: str, work: Work, restarts: Counter) -> None:
    failures = 0
    while True:
        started = time.monotonic()
        try:
            return await work()
        except Exception:  # noqa: BLE001 -- a task is restarted after any error
            failures = 1 if time.monotonic() - started > RESTART_BACKOFF.longest else failures + 1
            delay = RESTART_BACKOFF.delay(failures)
            _log.exception("background_failed", work=name, restart_in_seconds=round(delay, 2))
            restarts.labels(name).inc()
        await asyncio.sleep(delay)
