"""The bound on a request's time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from service.http.server.deadlines import Deadlines

_TIME = 0.05
_PATIENCE = 5.0


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    """Deadlines that are being swept."""
    made = Deadlines(_TIME)
    sweeping = asyncio.create_task(made.run())
    yield made
    sweeping.cancel()
    with suppress(asyncio.CancelledError):
        await sweeping


async def _request(deadlines: Deadlines, work: asyncio.Event) -> str:
    """A request in the way the service answers one."""
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task)
    try:
        await work.wait()
    except asyncio.CancelledError:
        if not deadlines.end(task):
            raise
        await asyncio.sleep(0)  # fails if the cancellation still stands
        return f"too slow, {task.cancelling()} cancellations left"
    deadlines.end(task)
    return "answered"


async def test_a_request_whose_time_is_over_is_cancelled_and_can_still_answer(deadlines: Deadlines) -> None:
    """Its cancellation is undone, so that the answer can be sent."""
    async with asyncio.timeout(_PATIENCE):
        assert await asyncio.create_task(_request(deadlines, asyncio.Event())) == (
            "too slow, 0 cancellations left"
        )


async def test_only_what_is_over_is_cancelled(deadlines: Deadlines) -> None:
    """A later request, and one that is answered in time, go on."""
    work = asyncio.Event()
    work.set()
    assert await _request(deadlines, work) == "answered"
    old = asyncio.create_task(_request(deadlines, asyncio.Event()))
    async with asyncio.timeout(_PATIENCE):
        await old
    assert await _request(deadlines, work) == "answered", "the same task can be bounded again"


async def test_a_task_that_has_answered_is_left_alone(deadlines: Deadlines) -> None:
    """A connection's task lives on after its request; the next sweeps do not touch it."""
    work = asyncio.Event()
    work.set()
    await _request(deadlines, work)
    slow = asyncio.create_task(_request(deadlines, asyncio.Event()))
    async with asyncio.timeout(_PATIENCE):
        await slow  # so at least one sweep has passed
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_another_ones_cancellation_is_not_taken_for_a_deadline() -> None:
    """A process that stops cancels too: nobody waits for an answer then."""
    deadlines = Deadlines(_TIME)
    request = asyncio.create_task(_request(deadlines, asyncio.Event()))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
