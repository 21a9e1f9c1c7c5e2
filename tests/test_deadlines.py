"""The deadline of a request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from service.http.server.admission import Deadlines

_DEADLINE = 0.05
_TIMEOUT = 5.0


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    """Deadlines that are being checked."""
    started = Deadlines(_DEADLINE)
    running = asyncio.create_task(started.run())
    yield started
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def _request(deadlines: Deadlines, work: asyncio.Event) -> str:
    """Handle a request as the middleware does."""
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task)
    try:
        await work.wait()
    except asyncio.CancelledError:
        if not deadlines.end(task):
            raise
        await asyncio.sleep(0)  # raises if the cancellation is still pending
        return f"timed out, {task.cancelling()} cancellations left"
    deadlines.end(task)
    return "completed"


async def test_a_request_beyond_its_deadline_is_cancelled_and_can_respond(deadlines: Deadlines) -> None:
    """The cancellation is undone, so the response can be sent."""
    async with asyncio.timeout(_TIMEOUT):
        assert await asyncio.create_task(_request(deadlines, asyncio.Event())) == ("timed out, 0 cancellations left")


async def test_only_a_request_beyond_its_deadline_is_cancelled(deadlines: Deadlines) -> None:
    """A later request and one that completes in time continue."""
    work = asyncio.Event()
    work.set()
    assert await _request(deadlines, work) == "completed"
    old = asyncio.create_task(_request(deadlines, asyncio.Event()))
    async with asyncio.timeout(_TIMEOUT):
        await old
    assert await _request(deadlines, work) == "completed", "the same task can have another deadline"


async def test_a_task_is_not_cancelled_after_its_request(deadlines: Deadlines) -> None:
    """The task of a connection continues after its request; later checks ignore it."""
    work = asyncio.Event()
    work.set()
    await _request(deadlines, work)
    slow = asyncio.create_task(_request(deadlines, asyncio.Event()))
    async with asyncio.timeout(_TIMEOUT):
        await slow  # so at least one check has run
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_another_cancellation_is_not_taken_for_a_deadline() -> None:
    """A process that stops also cancels requests; it sends no response then."""
    deadlines = Deadlines(_DEADLINE)
    request = asyncio.create_task(_request(deadlines, asyncio.Event()))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
