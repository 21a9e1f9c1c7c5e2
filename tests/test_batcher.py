"""Calls that go together: in order, bounded, each with its own outcome."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from service.concurrency.batcher import Batcher
from service.domain.errors import BusyError

_PATIENCE = 5.0


class Airport:
    """Work that takes off at once and lands when the test says so."""

    def __init__(self, *, flights: int = 1, most: int = 64, waiting: int = 64) -> None:
        self.departed: list[list[int]] = []
        self.aloft = 0
        self.most_aloft = 0
        self.gate = asyncio.Event()
        self.fault: Exception | None = None
        self.calls = Batcher[int, str](self._fly, flights=flights, most=most, waiting=waiting)

    async def _fly(self, items: Sequence[int]) -> Sequence[str | Exception]:
        self.departed.append(list(items))
        self.aloft += 1
        self.most_aloft = max(self.most_aloft, self.aloft)
        await self.gate.wait()
        self.aloft -= 1
        if self.fault is not None:
            raise self.fault
        return [ValueError(item) if item < 0 else f"done {item}" for item in items]


@asynccontextmanager
async def landed(airport: Airport) -> AsyncIterator[None]:
    """The block's calls are made while the first flight is under way; then everything lands."""
    await asyncio.sleep(0)
    yield
    airport.gate.set()
    async with asyncio.timeout(_PATIENCE):
        await airport.calls.drain()


async def test_a_lone_call_goes_at_once() -> None:
    """Nothing is waited for."""
    airport = Airport()
    call = airport.calls.submit(1)
    async with landed(airport):
        assert airport.departed == [[1]]
    assert await call == "done 1"


async def test_calls_that_arrive_during_a_flight_share_the_next_ones_in_order() -> None:
    """At most as many in one as it may carry."""
    airport = Airport(most=3)
    calls = [airport.calls.submit(0)]
    async with landed(airport):
        calls += [airport.calls.submit(number) for number in range(1, 6)]
    assert airport.departed == [[0], [1, 2, 3], [4, 5]]
    assert [await call for call in calls] == [f"done {number}" for number in range(6)]


async def test_only_so_many_flights_are_under_way_at_a_time() -> None:
    """More calls wait, and none is lost."""
    airport = Airport(flights=2, most=1)
    calls = [airport.calls.submit(number) for number in range(2)]
    async with landed(airport):
        calls += [airport.calls.submit(number) for number in range(2, 9)]
    assert airport.most_aloft == 2
    assert sorted(airport.departed) == [[number] for number in range(9)]
    assert [await call for call in calls] == [f"done {number}" for number in range(9)]


async def test_a_call_that_would_wait_too_long_is_told_to_come_again() -> None:
    """The queue is bounded; those in it are served all the same."""
    airport = Airport(waiting=2)
    calls = [airport.calls.submit(0)]
    async with landed(airport):
        calls += [airport.calls.submit(number) for number in (1, 2)]
        with pytest.raises(BusyError):
            airport.calls.submit(3)
    assert [await call for call in calls] == ["done 0", "done 1", "done 2"]


async def test_tenants_fill_the_flights_in_turn() -> None:
    """However many calls of one of them wait, each flight carries as many of another's as it can."""
    airport = Airport(most=4)
    airport.calls.submit(0, tenant=1)
    async with landed(airport):
        for number in range(1, 8):
            airport.calls.submit(number, tenant=1)
        for number in (21, 22, 23):
            airport.calls.submit(number, tenant=2)
        airport.calls.submit(31, tenant=3)
    assert airport.departed == [[0], [1, 21, 31, 2], [22, 3, 23, 4], [5, 6, 7]]


async def test_a_full_queue_refuses_the_tenant_that_has_the_most_calls_in_it() -> None:
    """Its newest call makes room for another tenant's, and it can add none itself."""
    airport = Airport(waiting=3)
    airport.calls.submit(0, tenant=1)
    async with landed(airport):
        flood = [airport.calls.submit(number, tenant=1) for number in (1, 2, 3)]
        with pytest.raises(BusyError):
            airport.calls.submit(4, tenant=1)
        other = airport.calls.submit(21, tenant=2)
        with pytest.raises(BusyError):
            airport.calls.submit(5, tenant=1)
    assert await other == "done 21"
    assert [await call for call in flood[:2]] == ["done 1", "done 2"]
    with pytest.raises(BusyError):
        await flood[2]


async def test_the_error_of_one_call_is_its_callers_alone() -> None:
    """Neighbours in the same flight get their results."""
    airport = Airport()
    calls = [airport.calls.submit(number) for number in (1, -2, 3)]
    async with landed(airport):
        assert airport.departed == [[1, -2, 3]]
    assert (await calls[0], await calls[2]) == ("done 1", "done 3")
    with pytest.raises(ValueError, match="-2"):
        await calls[1]


async def test_the_error_of_a_flight_reaches_everybody_in_it() -> None:
    """And the next flight goes all the same."""
    airport = Airport()
    airport.fault = OSError("no way")
    calls = [airport.calls.submit(number) for number in (1, 2)]
    async with landed(airport):
        pass
    for call in calls:
        with pytest.raises(OSError, match="no way"):
            await call
    airport.fault = None
    assert await asyncio.wait_for(airport.calls.submit(3), _PATIENCE) == "done 3"


async def test_a_caller_that_goes_away_changes_nothing() -> None:
    """Neither for its own work, which has left, nor for its neighbours."""
    airport = Airport()
    gone, stays = airport.calls.submit(1), airport.calls.submit(2)
    async with landed(airport):
        gone.cancel()
        waiting = airport.calls.submit(3)
        waiting.cancel()
    assert await stays == "done 2"
    assert airport.departed == [[1, 2], [3]]


async def test_draining_waits_for_every_call_that_was_taken() -> None:
    """Those in the queue too; without any it returns at once."""
    airport = Airport(most=1)
    await airport.calls.drain()
    calls = [airport.calls.submit(number) for number in range(3)]
    async with landed(airport):
        draining = asyncio.create_task(airport.calls.drain())
        await asyncio.sleep(0)
        assert not draining.done()
    await draining
    assert all(call.done() for call in calls)


async def test_a_call_made_the_moment_a_flight_has_landed_is_not_forgotten() -> None:
    """The caller goes on before the loop has seen the end of the flight's task."""
    airport = Airport()
    airport.gate.set()
    async with asyncio.timeout(_PATIENCE):
        for number in range(3):
            assert await airport.calls.submit(number) == f"done {number}"
