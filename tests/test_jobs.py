"""Work that is done a batch at a time: bounded, each key once, never forgotten, whatever happens to the workers."""

import asyncio

import orjson
import pytest

from service.app import Service
from service.domain.events import EventType
from service.domain.model import OrganizationChange, ProjectChange, ProjectKeyChange
from service.usecases.bulk_changes import BATCH_SIZE
from testkit.polling import poll_until
from tests.batch_jobs import finish, make_due, outbox_events, wait_for_locks, write_keys
from tests.conftest import ORIGIN, make_organization, make_project
from tests.outbox import Postgres, waiting

MANY = 2 * BATCH_SIZE + 200
"""Keys that are two batches and a part of one."""


async def test_a_project_of_many_keys_goes_in_bounded_batches_each_key_with_its_event(
    service: Service, postgres: Postgres
) -> None:
    """Nobody finds it from the first moment; in the end neither it nor a key is left, and all are remembered."""
    project = await make_project(service)
    keys = await write_keys(postgres, project.id, MANY)
    await service.use_cases.projects.delete(project, ORIGIN)
    assert await postgres.fetchval("SELECT deleted_at IS NOT NULL FROM project")
    assert await waiting(postgres) == 0
    written = await finish(service, postgres)
    assert [count for count in written if count] == [BATCH_SIZE, BATCH_SIZE, MANY - 2 * BATCH_SIZE]
    assert sorted(await outbox_events(postgres)) == sorted((key, EventType.DELETED, 2) for key in keys)
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 0
    assert await postgres.fetchval("SELECT count(*) FROM project") == 0
    gone = await postgres.fetch("SELECT public_key, version FROM deleted_key")
    assert {(row["public_key"], row["version"]) for row in gone} == {(key, 2) for key in keys}
    assert await postgres.fetchval("SELECT done FROM batch_job") == MANY


async def test_a_key_that_comes_late_to_a_project_that_goes_is_deleted_too(
    service: Service, postgres: Postgres
) -> None:
    """Its creation had begun before; it stands behind what is done, and the project stays until it is gone."""
    project = await make_project(service)
    await write_keys(postgres, project.id, MANY)
    await service.use_cases.projects.delete(project, ORIGIN)
    await service.jobs.step()
    late = "f" * 32
    await postgres.execute("UPDATE project_key SET id = DEFAULT WHERE id = (SELECT min(id) FROM project_key)")
    await postgres.execute(
        "UPDATE project_key SET public_key = $1 WHERE id = (SELECT max(id) FROM project_key)", late
    )
    await postgres.execute("UPDATE batch_job SET after_id = (SELECT max(id) FROM project_key)")
    await finish(service, postgres)
    events = await outbox_events(postgres)
    assert len(events) == MANY
    assert (late, EventType.DELETED, 2) in events
    assert await postgres.fetchval("SELECT count(*) FROM project") == 0


async def test_another_ingest_url_gives_every_key_of_the_organization_a_new_version(
    service: Service, postgres: Postgres
) -> None:
    """In bounded batches, each with its new DSN; other organizations keep theirs."""
    project = await make_project(service)
    keys = await write_keys(postgres, project.id, MANY)
    other = await make_project(service, organization=await make_organization(service, "other"))
    await write_keys(postgres, other.id, 3)
    change = OrganizationChange(ingest_url="https://in.example.com")
    await service.use_cases.organizations.update(project.organization, change, ORIGIN)
    first = await postgres.fetchval("SELECT id FROM batch_job ORDER BY id LIMIT 1")
    await postgres.execute("UPDATE batch_job SET finished_at = now() WHERE id > $1", first)  # the second pass
    written = await finish(service, postgres)
    assert [count for count in written if count] == [BATCH_SIZE, BATCH_SIZE, MANY - 2 * BATCH_SIZE]
    assert await outbox_events(postgres) == [(key, EventType.UPDATED, 2) for key in keys]
    payloads = [orjson.loads(row["payload"]) for row in await postgres.fetch("SELECT payload FROM outbox")]
    assert {one["dsn"]["public"] for one in payloads} == {
        f"https://{key}@in.example.com/{project.id}" for key in keys
    }
    versions = "SELECT project_id, version, count(*) FROM project_key GROUP BY 1, 2 ORDER BY 1"
    assert [tuple(row) for row in await postgres.fetch(versions)] == [
        (project.id, 2, MANY),
        (other.id, 1, 3),
    ]


async def test_a_key_made_while_the_ingest_url_changed_is_told_of_again_later(
    service: Service, postgres: Postgres
) -> None:
    """The second pass: only keys from about the change on, half a minute later."""
    project = await make_project(service)
    old, young = await write_keys(postgres, project.id, 2)
    await postgres.execute("UPDATE project_key SET created_at = now() - interval '1 day' WHERE public_key = $1", old)
    change = OrganizationChange(ingest_url="https://in.example.com")
    await service.use_cases.organizations.update(project.organization, change, ORIGIN)
    while await service.jobs.step():
        pass
    assert await outbox_events(postgres) == [(old, EventType.UPDATED, 2), (young, EventType.UPDATED, 2)]
    await finish(service, postgres)
    assert (await outbox_events(postgres))[2:] == [(young, EventType.UPDATED, 3)]


async def test_another_slug_leaves_every_dsn_as_it_is(service: Service, postgres: Postgres) -> None:
    """DSNs hold the project's id: no version, no event, no work."""
    project = await make_project(service)
    await write_keys(postgres, project.id, 2)
    await service.use_cases.projects.update(project, ProjectChange(slug="other-station"), ORIGIN)
    assert not await service.jobs.step()
    assert await waiting(postgres) == 0
    assert await postgres.fetchval("SELECT max(version) FROM project_key") == 1


async def test_a_change_that_waited_for_the_new_dsn_tells_of_it(service: Service, postgres: Postgres) -> None:
    """It locks the key when the organization has changed already, though it began before."""
    project = await make_project(service)
    [key] = await write_keys(postgres, project.id, 1)
    async with postgres.transaction():
        await postgres.execute("UPDATE project_key SET version = 2 WHERE public_key = $1", key)
        change = ProjectKeyChange(name="Renamed")
        task = asyncio.create_task(service.use_cases.change_keys.update(project, key, change, ORIGIN))
        await poll_until(lambda: wait_for_locks(postgres))
        await postgres.execute("UPDATE organization SET ingest_url = 'https://in.example.com'")
    await task
    [payload] = await postgres.fetch("SELECT payload FROM outbox")
    state = orjson.loads(payload["payload"])
    assert (state["version"], state["dsn"]["public"]) == (3, f"https://{key}@in.example.com/{project.id}")


async def test_a_long_job_holds_up_no_other(service: Service, postgres: Postgres) -> None:
    """They take turns: after each batch, whoever has waited for longest."""
    long = await make_project(service)
    await write_keys(postgres, long.id, MANY)
    await service.use_cases.projects.delete(long, ORIGIN)
    await service.jobs.step()
    short = await make_project(service, organization=long.organization, slug="short")
    await write_keys(postgres, short.id, BATCH_SIZE + 1)
    await service.use_cases.projects.delete(short, ORIGIN)
    for _ in range(2):
        await service.jobs.step()
    done = await postgres.fetch("SELECT done FROM batch_job ORDER BY id")
    assert [row["done"] for row in done] == [2 * BATCH_SIZE, BATCH_SIZE]


async def test_two_workers_at_once_never_do_a_batch_twice(
    service: Service, second: Service, postgres: Postgres
) -> None:
    """Two replicas and two jobs: each key has one event."""
    keys: list[str] = []
    organization = await make_organization(service)
    for slug in ("one", "two"):
        project = await make_project(service, organization=organization, slug=slug)
        keys += await write_keys(postgres, project.id, BATCH_SIZE + 300)
        await service.use_cases.projects.delete(project, ORIGIN)

    async def work(replica: Service) -> int:
        steps = 0
        while await postgres_unfinished(replica):
            steps += await replica.jobs.step()
        return steps

    shares = await asyncio.gather(*(work(replica) for replica in (service, second, service, second)))
    assert sum(shares) >= 6
    assert sorted(await outbox_events(postgres)) == sorted((key, EventType.DELETED, 2) for key in keys)


async def postgres_unfinished(replica: Service) -> bool:
    """Whether there is work, as a replica sees it."""
    async with replica.database.connection() as connection:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM batch_job WHERE finished_at IS NULL)"))


async def test_the_job_of_a_killed_worker_is_gone_on_with(
    service: Service, second: Service, postgres: Postgres
) -> None:
    """While it works, nobody else takes its job; what it had not committed is done by the next, once."""
    project = await make_project(service)
    keys = await write_keys(postgres, project.id, MANY)
    await service.use_cases.projects.delete(project, ORIGIN)
    await service.jobs.step()
    async with postgres.transaction():
        await postgres.execute("SELECT FROM project_key WHERE id = (SELECT max(id) FROM project_key) FOR UPDATE")
        await service.jobs.step()
        hangs = asyncio.create_task(service.jobs.step())
        await poll_until(lambda: wait_for_locks(postgres))
        assert not await second.jobs.step()
        await postgres.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()
            """
        )
        with pytest.raises(Exception, match=r"terminat|closed"):
            await hangs
    await finish(second, postgres)
    assert sorted(await outbox_events(postgres)) == sorted((key, EventType.DELETED, 2) for key in keys)


async def test_batches_wait_while_much_is_on_its_way(service: Service, postgres: Postgres) -> None:
    """Live events go first: nothing more is written until Kafka has got most of it."""
    await _much_to_do_and_much_on_its_way(service, postgres)
    await postgres.execute("INSERT INTO outbox_publisher VALUES ('somebody', now() + interval '1 minute')")
    await service.jobs.step()
    assert await waiting(postgres) == 2000
    await postgres.execute("DELETE FROM outbox WHERE seq = (SELECT max(seq) FROM outbox)")
    await make_due(postgres)
    await service.jobs.step()
    assert await waiting(postgres) == 1999 + BATCH_SIZE


async def test_batches_wait_for_nobody_where_nobody_publishes(service: Service, postgres: Postgres) -> None:
    """Rows that are read by change-data capture stay in the outbox: waiting for their end would be for ever."""
    await _much_to_do_and_much_on_its_way(service, postgres)
    await service.jobs.step()
    assert await waiting(postgres) == 2000 + BATCH_SIZE


async def _much_to_do_and_much_on_its_way(service: Service, postgres: Postgres) -> None:
    project = await make_project(service)
    await write_keys(postgres, project.id, BATCH_SIZE + 1)
    await service.use_cases.projects.delete(project, ORIGIN)
    await postgres.execute(
        """
        INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers)
        SELECT gen_random_uuid(), md5(number::text), 'projectkey.created', 1, 0, '{}', '{}'
        FROM generate_series(1, 2000) AS number
        """
    )
