"""Jobs that follow changes of the ingest URL: one pass over all keys and one over new keys, however many changes."""

import asyncio

import orjson

from service.app import Service
from service.domain.model import Organization, OrganizationChange
from service.usecases.bulk_changes import BATCH_SIZE
from testkit.polling import poll_until
from tests.batch_jobs import finish, wait_for_locks, write_keys
from tests.conftest import ORIGIN, make_organization, make_project
from tests.outbox import Postgres, waiting

KEYS = BATCH_SIZE + 2
"""Keys that are a batch and a part of one."""

LAST = "https://last.example.com"


async def change_url(service: Service, organization: Organization, url: str) -> None:
    """Change the ingest URL of an organization."""
    await service.use_cases.organizations.update(organization, OrganizationChange(ingest_url=url), ORIGIN)


async def open_jobs(postgres: Postgres) -> int:
    """Return how many jobs are unfinished."""
    number: int = await postgres.fetchval("SELECT count(*) FROM batch_job WHERE finished_at IS NULL")
    return number


async def last_hosts(postgres: Postgres) -> dict[str, str]:
    """Return the host in the DSN of each key's last event."""
    rows = await postgres.fetch("SELECT aggregateid, payload FROM outbox ORDER BY seq")
    return {
        row["aggregateid"]: orjson.loads(row["payload"])["dsn"]["public"].split("@")[1].split("/")[0] for row in rows
    }


async def test_forty_changes_leave_two_open_jobs(service: Service, postgres: Postgres) -> None:
    """Also when they arrive at the same time; a change that changes nothing adds none."""
    organization = await make_organization(service)
    for _ in range(10):
        urls = (f"https://{letter}.example.com" for letter in "abab")
        await asyncio.gather(*(change_url(service, organization, url) for url in urls))
    assert await open_jobs(postgres) == 2
    await finish(service, postgres)
    current = (await service.use_cases.organizations.get(organization.slug)).ingest_url
    assert current is not None
    await change_url(service, organization, current)
    assert await open_jobs(postgres) == 0


async def test_twenty_changes_write_two_events_for_each_key(service: Service, postgres: Postgres) -> None:
    """One event of each pass, and those of the batches that were committed between two changes: here, one batch."""
    project = await make_project(service)
    keys = await write_keys(postgres, project.id, KEYS)
    for number in range(19):
        await change_url(service, project.organization, f"https://{number}.example.com")
        if number == 0:
            await service.jobs.step()
    await change_url(service, project.organization, LAST)
    await finish(service, postgres)
    assert await waiting(postgres) == 2 * KEYS + BATCH_SIZE
    assert await last_hosts(postgres) == dict.fromkeys(keys, "last.example.com")


async def test_a_change_postpones_the_second_pass_to_half_a_minute_after_itself(
    service: Service, postgres: Postgres
) -> None:
    """It begins with the first key again and leaves out keys that are older than the last change allows."""
    project = await make_project(service)
    await change_url(service, project.organization, "https://first.example.com")
    await postgres.execute(
        "UPDATE batch_job SET after_id = 7, starts_at = 'epoch', made_since = 'epoch' WHERE made_since IS NOT NULL"
    )
    await change_url(service, project.organization, LAST)
    row = await postgres.fetchrow(
        """
        SELECT after_id, extract(epoch FROM starts_at - clock_timestamp()) AS seconds,
               extract(epoch FROM starts_at - made_since) AS width
        FROM batch_job WHERE made_since IS NOT NULL
        """
    )
    assert row is not None
    assert row["after_id"] == 0
    assert 20 < row["seconds"] <= 30
    assert 60 <= row["width"] < 70


async def test_a_change_during_a_batch_restarts_the_pass_after_that_batch(
    service: Service, postgres: Postgres
) -> None:
    """The batch has read the former URL: its progress must not replace the restart."""
    project = await make_project(service)
    keys = await write_keys(postgres, project.id, KEYS)
    await change_url(service, project.organization, "https://first.example.com")
    async with postgres.transaction():
        await postgres.execute("LOCK TABLE outbox IN SHARE MODE")
        step = asyncio.create_task(service.jobs.step())
        await poll_until(lambda: wait_for_locks(postgres))
        change = asyncio.create_task(change_url(service, project.organization, LAST))
        await poll_until(lambda: wait_for_locks(postgres, 2))
    await asyncio.gather(step, change)
    assert await waiting(postgres) == BATCH_SIZE
    assert await open_jobs(postgres) == 2
    await postgres.execute("UPDATE batch_job SET finished_at = now() WHERE made_since IS NOT NULL")
    await finish(service, postgres)
    assert await waiting(postgres) == BATCH_SIZE + KEYS
    assert await last_hosts(postgres) == dict.fromkeys(keys, "last.example.com")


async def test_a_change_during_the_end_of_a_pass_inserts_another(service: Service, postgres: Postgres) -> None:
    """The update waits for the job's row, finds that the job has finished, and restarts nothing."""
    organization = await make_organization(service)
    await change_url(service, organization, "https://first.example.com")
    async with postgres.transaction():
        await postgres.execute("UPDATE batch_job SET finished_at = now(), after_id = 7")
        change = asyncio.create_task(change_url(service, organization, LAST))
        await poll_until(lambda: wait_for_locks(postgres))
    await change
    rows = await postgres.fetch("SELECT after_id FROM batch_job WHERE finished_at IS NULL")
    assert [row["after_id"] for row in rows] == [0, 0]


async def test_a_job_waits_for_one_batch_of_another_organization_however_many_jobs_that_has(
    service: Service, postgres: Postgres
) -> None:
    """Organizations take turns; the jobs of one share its turns."""
    organization = await make_organization(service)
    for slug in ("one", "two", "three"):
        project = await make_project(service, organization=organization, slug=slug)
        await write_keys(postgres, project.id, KEYS)
        await service.use_cases.projects.delete(project, ORIGIN)
    await service.jobs.step()
    small = await make_project(service, organization=await make_organization(service, "small"))
    [key] = await write_keys(postgres, small.id, 1)
    await change_url(service, small.organization, LAST)
    await service.jobs.step()
    assert await postgres.fetchval("SELECT version FROM project_key WHERE public_key = $1", key) == 2
    for _ in range(2):  # a batch of the large organization, and the end of the small one's job
        await service.jobs.step()
    finished = "SELECT count(*) FROM batch_job WHERE finished_at IS NOT NULL AND organization_id = $1"
    assert await postgres.fetchval(finished, small.organization.id) == 1
    assert await postgres.fetchval(finished, organization.id) == 0
    done = await postgres.fetch("SELECT done FROM batch_job WHERE kind = 'project.delete' ORDER BY id")
    assert [row["done"] for row in done] == [BATCH_SIZE, BATCH_SIZE, 0]
