"""A replay's rate: kept, and not fallen short of."""

import asyncio

import pytest

from service.app import Service
from service.domain.model import Project
from service.usecases import jobs
from service.usecases.bulk_changes import MOST
from service.usecases.replays import Replays
from testkit.polling import poll_until
from tests.batch_jobs import finish, make_due, put_off_by, write_keys
from tests.conftest import ORIGIN, make_project
from tests.outbox import Postgres, waiting


async def ask(service: Service, *, rate: int) -> int:
    """Ask for a replay of all; returns its id."""
    return await Replays(service.database).ask(ORIGIN, organization=None, project=None, rate=rate)


@pytest.fixture
async def project(service: Service) -> Project:
    """A project without keys."""
    return await make_project(service)


async def test_the_rate_is_kept(service: Service, postgres: Postgres, project: Project) -> None:
    """No more than so many keys a second, by the database's clock, which is moved here."""
    await write_keys(postgres, project.id, 250)
    await ask(service, rate=100)
    for count, seconds in ((100, 1.0), (200, 1.0), (250, 0.5)):
        most, least = await put_off_by(service, postgres)
        assert await waiting(postgres) == count
        assert least < seconds <= most
        await make_due(postgres)
    await finish(service, postgres)
    assert await waiting(postgres) == 250


async def test_a_high_rate_is_kept_in_batches_of_the_usual_size(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """Half a second for a batch at twice its size a second."""
    await write_keys(postgres, project.id, MOST + 1)
    await ask(service, rate=2 * MOST)
    most, least = await put_off_by(service, postgres)
    assert await waiting(postgres) == MOST
    assert least < 0.5 <= most


async def test_the_worker_wakes_when_the_rate_allows_the_next_batch(
    service: Service, postgres: Postgres, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with its next look for new work: half the rate would be lost, and here all of the test's patience."""
    monkeypatch.setattr(jobs, "_POLL", 3600)
    await write_keys(postgres, project.id, 60)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await ask(service, rate=20)
    service.jobs.wake()
    task = asyncio.create_task(service.jobs.run())
    try:
        await poll_until(lambda: _all_told(postgres, 60))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert loop.time() - began > 1.9


async def _all_told(postgres: Postgres, number: int) -> bool:
    return await waiting(postgres) == number
