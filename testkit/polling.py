"""Waits for a condition, with a timeout."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

DEFAULT_TIMEOUT = 20.0  # seconds
DEFAULT_INTERVAL = 0.01  # seconds


async def poll_until(
    condition: Callable[[], object | Awaitable[object]],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    interval: float = DEFAULT_INTERVAL,
    error: Callable[[], Exception] | None = None,
) -> None:
    """Evaluate ``condition`` repeatedly until it is true.

    Args:
        condition: A function or a coroutine function.
        timeout: Seconds after which the exception is raised.
        interval: Seconds between two evaluations.
        error: Returns the exception for a condition that stays false; an AssertionError by default.

    Raises:
        Exception: The one that ``error`` returns: the condition is still false after ``timeout`` seconds.
    """
    try:
        async with asyncio.timeout(timeout) as deadline:
            while True:
                result = condition()
                if await result if inspect.isawaitable(result) else result:
                    return
                await asyncio.sleep(interval)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise (AssertionError(f"the condition is false after {timeout:g} s") if error is None else error()) from None
