"""The rate of a replay: not exceeded, and reached."""

import asyncio

import pytest

from service.app import Service
from service.domain.model import Project
from service.usecases import jobs
from service.usecases.bulk_changes import BATCH_SIZE
from service.usecases.replays import Replays
from testkit.polling import poll_until
from tests.batch_jobs import finish, make_due, put_off_by, write_keys
from tests.conftest import ORIGIN, make_project
from tests.outbox import Postgres, waiting


async def create_replay(service: Service, *, rate: int) -> int:
    """Create a replay of all keys; return its id."""
    return await Replays(service.database).create(ORIGIN, organization=None, project=None, rate=rate)


@pytest.fixture
async def project(service: Service) -> Project:
    """A project without keys."""
    return await make_project(service)


async def test_the_rate_is_not_exceeded(service: Service, postgres: Postgres, project: Project) -> None:
    """By the clock of the database, which the test moves."""
    await write_keys(postgres, project.id, 250)
    await create_replay(service, rate=100)
    for count, seconds in ((100, 1.0), (200, 1.0), (250, 0.5)):
        most, least = await put_off_by(service, postgres)
        assert await waiting(postgres) == count
        assert least < seconds <= most
        await make_due(postgres)
    await finish(service, postgres)
    assert await waiting(postgres) == 250


async def test_a_high_rate_is_not_exceeded_with_batches_of_the_usual_size(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """At twice the batch size per second, a batch takes half a second."""
    await write_keys(postgres, project.id, BATCH_SIZE + 1)
    await create_replay(service, rate=2 * BATCH_SIZE)
    most, least = await put_off_by(service, postgres)
    assert await waiting(postgres) == BATCH_SIZE
    assert least < 0.5 <= most


async def test_the_worker_wakes_when_the_rate_allows_the_next_batch(
    service: Service, postgres: Postgres, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at its next poll, which is in an hour here."""
    monkeypatch.setattr(jobs, "_POLL_INTERVAL", 3600)
    await write_keys(postgres, project.id, 60)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    await create_replay(service, rate=20)
    service.jobs.wake()
    task = asyncio.create_task(service.jobs.run())
    try:
        await poll_until(lambda: _outbox_has(postgres, 60))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert loop.time() - started_at > 1.9


async def _outbox_has(postgres: Postgres, number: int) -> bool:
    return await waiting(postgres) == number
