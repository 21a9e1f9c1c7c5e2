"""Changes of keys at the same time: each has its own version, and events are in the order of the versions."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.app import Service, build
from service.domain.errors import BusyError, NotFoundError
from service.domain.model import ProjectKeyChange
from service.postgres.database import Database
from service.settings import Settings
from tests.batch_jobs import write_keys
from tests.conftest import ORIGIN, make_project
from tests.outbox import Postgres

_WRITERS = 24


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[list[Service]]:
    """Two processes on one database, whose changes wait for each other as long as a slow machine takes."""
    built = [
        build(replace(settings, acquire_timeout=60.0, lock_timeout=60.0, statement_timeout=61.0)) for _ in range(2)
    ]
    for each in built:
        await each.database.start()
    yield built
    for each in built:
        await each.database.close()


async def test_the_seq_of_a_keys_events_grows_with_its_version(services: list[Service], postgres: Postgres) -> None:
    """Of many writers in two processes, beside transactions that lock the key, each commits one version."""
    project = await make_project(services[0])
    [key] = await write_keys(postgres, project.id, 1)

    async def lock_and_release() -> None:
        for _ in range(20):
            async with postgres.transaction():
                await postgres.execute("SELECT FROM project_key WHERE public_key = $1 FOR UPDATE", key)
                await asyncio.sleep(0)

    updates = [
        services[number % 2].use_cases.change_keys.update(project, key, ProjectKeyChange(name=f"n{number}"), ORIGIN)
        for number in range(_WRITERS)
    ]
    locking = asyncio.create_task(lock_and_release())
    updated = await asyncio.gather(*updates)
    await locking
    await services[0].use_cases.change_keys.delete(project, key, ORIGIN)
    rows = await postgres.fetch("SELECT id, version FROM outbox ORDER BY seq")
    assert [row["version"] for row in rows] == list(range(2, _WRITERS + 3))
    assert {row["version"]: row["id"] for row in rows[:-1]} == {
        result.key.version: result.event_id for result in updated
    }
    entries = await postgres.fetch("SELECT action, change_id FROM audit_entry WHERE target = $1", key)
    assert Counter(entry["action"] for entry in entries) == {
        "projectkey.edit": _WRITERS,
        "projectkey.remove": 1,
    }
    assert {entry["change_id"] for entry in entries} == {row["id"] for row in rows}


async def test_of_two_deletions_at_the_same_time_one_finds_no_key(
    services: list[Service], postgres: Postgres
) -> None:
    """The key is deleted once, by one event."""
    project = await make_project(services[0])
    keys = await write_keys(postgres, project.id, 5)
    outcomes = await asyncio.gather(
        *(each.use_cases.change_keys.delete(project, key, ORIGIN) for key in keys for each in services),
        return_exceptions=True,
    )
    assert Counter(type(outcome) for outcome in outcomes)[NotFoundError] == len(keys)
    rows = await postgres.fetch("SELECT aggregateid, version FROM outbox")
    assert sorted(row["aggregateid"] for row in rows) == sorted(keys)
    deleted = await postgres.fetch("SELECT public_key, version FROM deleted_key")
    assert {tuple(row) for row in deleted} == {(row["aggregateid"], row["version"]) for row in rows}
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 0


async def test_a_locked_key_delays_the_changes_of_no_other_key(service: Service, postgres: Postgres) -> None:
    """The batch leaves it out; its change waits alone and is made when the lock is released."""
    project = await make_project(service)
    locked, *others = await write_keys(postgres, project.id, 4)
    update, change = service.use_cases.change_keys.update, ProjectKeyChange(name="New")
    async with postgres.transaction():
        await postgres.execute("SELECT FROM project_key WHERE public_key = $1 FOR UPDATE", locked)
        waiting = asyncio.create_task(update(project, locked, change, ORIGIN))
        await asyncio.gather(*(update(project, key, change, ORIGIN) for key in others))
        assert not waiting.done()
    assert (await waiting).key.version == 2


@pytest.mark.parametrize("names", [["Same"] * 65, [f"n{number}" for number in range(65)]])
async def test_many_changes_of_one_key_need_no_transaction_that_waits_for_its_lock(
    service: Service, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """With and without effect: they take turns within the process, and each has an audit entry."""
    project = await make_project(service)
    [key] = await write_keys(postgres, project.id, 1)
    update = service.use_cases.change_keys.update
    monkeypatch.setattr(Database, "transaction", None)
    updated = await asyncio.gather(*(update(project, key, ProjectKeyChange(name=name), ORIGIN) for name in names))
    assert [result.key.label for result in updated] == names
    events = [result.event_id for result in updated if result.event_id is not None]
    assert events == [row["id"] for row in await postgres.fetch("SELECT id FROM outbox ORDER BY seq")]
    assert len(events) == len(set(names))
    assert await postgres.fetchval("SELECT count(*) FROM audit_entry WHERE target = $1", key) == len(names)


async def test_a_change_waits_for_its_turn_only_as_long_as_for_a_slot(settings: Settings, postgres: Postgres) -> None:
    """While another one waits for the lock of the key, the changes behind it are refused soon."""
    service = build(replace(settings, acquire_timeout=0.2, lock_timeout=60.0, statement_timeout=61.0))
    await service.database.start()
    project = await make_project(service)
    [key] = await write_keys(postgres, project.id, 1)
    update, change = service.use_cases.change_keys.update, ProjectKeyChange(name="New")
    async with postgres.transaction():
        await postgres.execute("SELECT FROM project_key WHERE public_key = $1 FOR UPDATE", key)
        first = asyncio.create_task(update(project, key, change, ORIGIN))
        refused = await asyncio.gather(
            *(update(project, key, change, ORIGIN) for _ in range(10)), return_exceptions=True
        )
        assert {type(each) for each in refused} == {BusyError}
    assert (await first).key.version == 2
    await service.database.close()


async def test_a_change_repeats_what_was_changed_since_it_was_read(service: Service, postgres: Postgres) -> None:
    """The members that it does not name keep the values of the other change."""
    project = await make_project(service)
    [key] = await write_keys(postgres, project.id, 1)
    change_keys = service.use_cases.change_keys
    read = await service.use_cases.read_keys.get(project, key)
    await change_keys.update(project, key, ProjectKeyChange(is_active=False), ORIGIN)
    updated = await change_keys.update(project, key, ProjectKeyChange(name="New"), ORIGIN, key=read)
    assert (updated.key.label, updated.key.is_active, updated.key.version) == ("New", False, 3)


async def test_an_event_has_the_dsn_of_the_organization_at_its_commit(service: Service, postgres: Postgres) -> None:
    """Though the project that the caller passes is cached from before."""
    project = await make_project(service)
    [key] = await write_keys(postgres, project.id, 1)
    await postgres.execute("UPDATE organization SET ingest_url = 'https://in.example.com'")
    await service.use_cases.change_keys.update(project, key, ProjectKeyChange(name="New"), ORIGIN)
    dsn = await postgres.fetchval("SELECT payload->'dsn'->>'public' FROM outbox")
    assert dsn == f"https://{key}@in.example.com/{project.id}"
