"""A job that fails for a reason that nobody has thought of: it waits, the others go on, people can see it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from service.app import Service
from service.usecases.bulk_changes import BATCH_SIZE
from testkit.polling import poll_until
from tests.batch_jobs import finish, outbox_events, put_off_by, write_keys
from tests.conftest import ORIGIN, make_project
from tests.outbox import Postgres


@pytest.fixture
async def poisoned(service: Service, postgres: Postgres) -> tuple[int, int]:
    """Two projects that are to be deleted: no key of the first can be, for a fault that nobody has thought of."""
    first = await make_project(service)
    second = await make_project(service, organization=first.organization, slug="second")
    for project in (first, second):
        await write_keys(postgres, project.id, BATCH_SIZE + 1)
        await service.use_cases.projects.delete(project, ORIGIN)
    await postgres.execute(
        f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'poison' USING DETAIL = 'a value'; END $$;
        CREATE TRIGGER poison BEFORE INSERT ON deleted_key FOR EACH ROW
        WHEN (NEW.project_id = {first.id}) EXECUTE FUNCTION fail()
        """
    )
    return first.id, second.id


async def test_a_job_that_fails_stops_no_other_and_waits_longer_each_time(
    service: Service, postgres: Postgres, poisoned: tuple[int, int]
) -> None:
    """It is put off, counted and logged without values, and goes on when what it failed of is mended."""
    first, second = poisoned
    with capture_logs() as logs:
        most, least = await put_off_by(service, postgres)
    [line] = [one for one in logs if one["event"] == "job_failed"]
    assert (line["log_level"], line["kind"], line["failures"]) == ("error", "project.delete", 1)
    assert line["exc_info"].detail is None
    await postgres.execute("UPDATE batch_job SET starts_at = 'infinity' WHERE project_id = $1", first)
    while await service.jobs.step():
        pass
    finished = "SELECT finished_at IS NOT NULL FROM batch_job WHERE project_id = $1"
    assert await postgres.fetchval(finished, second)
    assert not await postgres.fetchval(finished, first)
    for failures, longest in enumerate((1, 2, 4, 8, 16, 32, 60, 60), 1):
        row = await postgres.fetchrow("SELECT failures, last_error FROM batch_job WHERE project_id = $1", first)
        assert row is not None
        assert tuple(row) == (failures, "RaiseError")
        assert least < longest
        assert longest / 2 <= most
        await postgres.execute("UPDATE batch_job SET starts_at = 'epoch'")
        most, least = await put_off_by(service, postgres)
    labels = {"kind": "project.delete", "error": "RaiseError"}
    assert service.registry.get_sample_value("projectkeys_job_failures_total", labels) == 9
    await postgres.execute("DROP TRIGGER poison ON deleted_key")
    await finish(service, postgres)
    assert await postgres.fetchval("SELECT failures FROM batch_job WHERE project_id = $1", first) == 0
    assert len(await outbox_events(postgres)) == 2 * (BATCH_SIZE + 1)


async def test_a_job_that_fails_is_not_tried_in_a_hot_loop(
    service: Service, postgres: Postgres, poisoned: tuple[int, int]
) -> None:
    """The worker itself keeps to the pause."""
    first, second = poisoned
    loop = asyncio.get_running_loop()
    began, task = loop.time(), asyncio.create_task(service.jobs.run())
    try:
        finished = "SELECT finished_at IS NOT NULL FROM batch_job WHERE project_id = $1"
        await poll_until(lambda: postgres.fetchval(finished, second))
        failures = await postgres.fetchval("SELECT failures FROM batch_job WHERE project_id = $1", first)
        assert failures >= 1
        assert loop.time() - began >= sum(2**number / 2 for number in range(failures - 1))
    finally:
        await stop(task)


async def stop(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
