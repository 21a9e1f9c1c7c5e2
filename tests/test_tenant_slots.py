"""Slots that tenants wait for in turn: bounded, none is lost, cancelled work holds none."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from service.app import build
from service.concurrency.tenant_slots import TenantSlots
from service.domain.errors import BusyError
from service.domain.model import NewProjectKey, ProjectKeyChange
from service.settings import Settings
from testkit.polling import poll_until
from tests.batch_jobs import wait_for_locks, write_keys
from tests.conftest import ORIGIN, make_organization, make_project
from tests.outbox import Postgres

_TIMEOUT = 5.0


class Work:
    """Work that records its order and ends when the test opens the gate."""

    def __init__(self, *, slots: int = 1, max_waiting: int = 10, max_wait: float = _TIMEOUT) -> None:
        self.started: list[int] = []
        self.gate = asyncio.Event()
        self.slots = TenantSlots(slots=slots, max_waiting=max_waiting, max_wait=max_wait)

    async def start(self, number: int, *, tenant: int = 1) -> "asyncio.Task[None]":
        """Start work; it has a slot or waits when this returns."""
        task = asyncio.create_task(self._run(number, tenant))
        await asyncio.sleep(0)
        return task

    async def _run(self, number: int, tenant: int) -> None:
        async with self.slots.slot(tenant):
            self.started.append(number)
            await self.gate.wait()


async def test_tenants_get_free_slots_in_turn() -> None:
    """However much work of one tenant waits; the work of one tenant keeps its order."""
    work = Work()
    tasks = [await work.start(number) for number in range(4)]
    tasks += [await work.start(number, tenant=2) for number in (21, 22)]
    assert work.started == [0]
    work.gate.set()
    await asyncio.wait_for(asyncio.gather(*tasks), _TIMEOUT)
    assert work.started == [0, 1, 21, 2, 22, 3]


async def test_a_slot_is_released_after_errors_cancellations_and_timeouts() -> None:
    """Also if the work is cancelled after it has received the slot."""
    work = Work(max_wait=0.01)
    first = await work.start(0)
    late = await work.start(1)
    with pytest.raises(BusyError):
        await asyncio.wait_for(late, _TIMEOUT)
    waits, next_one = await work.start(2), await work.start(3)
    waits.cancel()
    work.gate.set()
    await first
    next_one.cancel()  # it has the slot and has not run since
    for task in (waits, next_one):
        with suppress(asyncio.CancelledError):
            await task
    await asyncio.wait_for(await work.start(4), _TIMEOUT)
    assert work.started[-1] == 4
    with pytest.raises(ValueError, match="wrong"):
        async with work.slots.slot(1):
            raise ValueError("wrong")
    async with work.slots.slot(1):
        pass


async def test_full_slots_refuse_the_tenant_with_the_most_work() -> None:
    """The tenant that causes the load gets 503, the other does not."""
    work = Work(max_waiting=2)
    tasks = [await work.start(number) for number in range(3)]
    refused, other = await work.start(3), await work.start(21, tenant=2)
    for task in (refused, tasks[2]):
        with pytest.raises(BusyError):
            await asyncio.wait_for(task, _TIMEOUT)
    work.gate.set()
    await asyncio.wait_for(asyncio.gather(tasks[0], tasks[1], other), _TIMEOUT)
    assert work.started == [0, 1, 21]


@pytest.mark.parametrize("pool_size", [2, 10])
async def test_changes_that_wait_for_locks_leave_connections_to_creates_and_reads(
    settings: Settings, postgres: Postgres, pool_size: int
) -> None:
    """More changes of locked keys than there are connections: another tenant creates and reads meanwhile."""
    service = build(replace(settings, database_pool_size=pool_size))
    await service.database.start()
    project = await make_project(service)
    keys = await write_keys(postgres, project.id, 2 * pool_size)
    other = await make_project(service, organization=await make_organization(service, "other"))
    async with postgres.transaction():
        await postgres.execute("SELECT FROM project_key WHERE public_key = ANY($1) FOR UPDATE", keys)
        change = ProjectKeyChange(name="x")
        changes = [
            asyncio.create_task(service.use_cases.change_keys.update(project, key, change, ORIGIN)) for key in keys
        ]
        await poll_until(lambda: wait_for_locks(postgres, pool_size // 2))
        created = await service.use_cases.create_key.execute(NewProjectKey(), other, ORIGIN)
        read = await service.use_cases.read_keys.get(other, created.key.public_key)
        assert replace(read, id=None) == created.key
    await asyncio.gather(*changes, return_exceptions=True)
    await service.database.close()
