"""Batches of calls: in order, bounded, each call with its own outcome."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from service.concurrency.batcher import Batcher
from service.domain.errors import BusyError

_TIMEOUT = 5.0


class FakeBatchRunner:
    """Runs batches that end when the test opens the gate."""

    def __init__(self, *, max_running_batches: int = 1, max_batch_size: int = 64, max_queue_size: int = 64) -> None:
        self.batches: list[list[int]] = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.calls = Batcher[int, str](
            self._run,
            max_running_batches=max_running_batches,
            max_batch_size=max_batch_size,
            max_queue_size=max_queue_size,
        )

    async def _run(self, items: Sequence[int]) -> Sequence[str | Exception]:
        self.batches.append(list(items))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.gate.wait()
        self.running -= 1
        if self.error is not None:
            raise self.error
        return [ValueError(item) if item < 0 else f"done {item}" for item in items]


@asynccontextmanager
async def finished(runner: FakeBatchRunner) -> AsyncIterator[None]:
    """Run the block while the first batch is running; then let every batch end."""
    await asyncio.sleep(0)
    yield
    runner.gate.set()
    async with asyncio.timeout(_TIMEOUT):
        await runner.calls.drain()


async def test_a_single_call_starts_a_batch_without_delay() -> None:
    """It does not wait for further calls."""
    runner = FakeBatchRunner()
    call = runner.calls.submit(1)
    async with finished(runner):
        assert runner.batches == [[1]]
    assert await call == "done 1"


async def test_calls_that_arrive_while_a_batch_is_running_share_the_next_batches_in_order() -> None:
    """Each batch has at most the maximum size."""
    runner = FakeBatchRunner(max_batch_size=3)
    calls = [runner.calls.submit(0)]
    async with finished(runner):
        calls += [runner.calls.submit(number) for number in range(1, 6)]
    assert runner.batches == [[0], [1, 2, 3], [4, 5]]
    assert [await call for call in calls] == [f"done {number}" for number in range(6)]


async def test_the_number_of_running_batches_is_limited() -> None:
    """Further calls wait, and none is lost."""
    runner = FakeBatchRunner(max_running_batches=2, max_batch_size=1)
    calls = [runner.calls.submit(number) for number in range(2)]
    async with finished(runner):
        calls += [runner.calls.submit(number) for number in range(2, 9)]
    assert runner.most_running == 2
    assert sorted(runner.batches) == [[number] for number in range(9)]
    assert [await call for call in calls] == [f"done {number}" for number in range(9)]


async def test_a_call_is_refused_when_the_queue_is_full() -> None:
    """The calls in the queue are executed nevertheless."""
    runner = FakeBatchRunner(max_queue_size=2)
    calls = [runner.calls.submit(0)]
    async with finished(runner):
        calls += [runner.calls.submit(number) for number in (1, 2)]
        with pytest.raises(BusyError):
            runner.calls.submit(3)
    assert [await call for call in calls] == ["done 0", "done 1", "done 2"]


async def test_tenants_fill_the_batches_in_turn() -> None:
    """However many calls of one tenant wait, each batch has as many calls of another as possible."""
    runner = FakeBatchRunner(max_batch_size=4)
    runner.calls.submit(0, tenant=1)
    async with finished(runner):
        for number in range(1, 8):
            runner.calls.submit(number, tenant=1)
        for number in (21, 22, 23):
            runner.calls.submit(number, tenant=2)
        runner.calls.submit(31, tenant=3)
    assert runner.batches == [[0], [1, 21, 31, 2], [22, 3, 23, 4], [5, 6, 7]]


async def test_a_full_queue_refuses_the_tenant_that_has_the_most_calls_in_it() -> None:
    """Its newest call is replaced by the call of another tenant, and it cannot add one."""
    runner = FakeBatchRunner(max_queue_size=3)
    runner.calls.submit(0, tenant=1)
    async with finished(runner):
        flood = [runner.calls.submit(number, tenant=1) for number in (1, 2, 3)]
        with pytest.raises(BusyError):
            runner.calls.submit(4, tenant=1)
        other = runner.calls.submit(21, tenant=2)
        with pytest.raises(BusyError):
            runner.calls.submit(5, tenant=1)
    assert await other == "done 21"
    assert [await call for call in flood[:2]] == ["done 1", "done 2"]
    with pytest.raises(BusyError):
        await flood[2]


async def test_only_the_caller_of_a_failed_call_receives_its_error() -> None:
    """Other callers of the batch receive their results."""
    runner = FakeBatchRunner()
    calls = [runner.calls.submit(number) for number in (1, -2, 3)]
    async with finished(runner):
        assert runner.batches == [[1, -2, 3]]
    assert (await calls[0], await calls[2]) == ("done 1", "done 3")
    with pytest.raises(ValueError, match="-2"):
        await calls[1]


async def test_every_caller_of_a_failed_batch_receives_its_error() -> None:
    """The next batch runs nevertheless."""
    runner = FakeBatchRunner()
    runner.error = OSError("no way")
    calls = [runner.calls.submit(number) for number in (1, 2)]
    async with finished(runner):
        pass
    for call in calls:
        with pytest.raises(OSError, match="no way"):
            await call
    runner.error = None
    assert await asyncio.wait_for(runner.calls.submit(3), _TIMEOUT) == "done 3"


async def test_a_cancelled_caller_does_not_stop_its_batch() -> None:
    """Its call is executed, and so are the others."""
    runner = FakeBatchRunner()
    gone, stays = runner.calls.submit(1), runner.calls.submit(2)
    async with finished(runner):
        gone.cancel()
        waiting = runner.calls.submit(3)
        waiting.cancel()
    assert await stays == "done 2"
    assert runner.batches == [[1, 2], [3]]


async def test_draining_waits_for_every_call() -> None:
    """Also for calls in the queue; without calls it returns at once."""
    runner = FakeBatchRunner(max_batch_size=1)
    await runner.calls.drain()
    calls = [runner.calls.submit(number) for number in range(3)]
    async with finished(runner):
        draining = asyncio.create_task(runner.calls.drain())
        await asyncio.sleep(0)
        assert not draining.done()
    await draining
    assert all(call.done() for call in calls)


async def test_a_call_made_when_a_batch_has_ended_is_executed() -> None:
    """The caller continues before the loop has processed the end of the batch's task."""
    runner = FakeBatchRunner()
    runner.gate.set()
    async with asyncio.timeout(_TIMEOUT):
        for number in range(3):
            assert await runner.calls.submit(number) == f"done {number}"
