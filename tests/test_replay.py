"""Replays: the rows that they insert into the outbox."""

import asyncio
from random import Random

import orjson
import pytest

from service.app import Service
from service.domain.events import SHARDS, EventType
from service.domain.model import NewProjectKey, Project, ProjectKeyChange
from service.postgres import deleted_keys, key_locks
from service.postgres.outbox_admin import unpark
from service.usecases.replays import Replays
from testkit.polling import poll_until
from tests.batch_jobs import finish, outbox_events, wait_for_locks, write_keys
from tests.conftest import ORIGIN, make_organization, make_project
from tests.outbox import Postgres, outbox_of, waiting


async def issue(service: Service, project: Project, public_key: str | None = None) -> str:
    """Create a key; return its public key."""
    created = await service.use_cases.create_key.execute(NewProjectKey(public_key=public_key), project, ORIGIN)
    return created.key.public_key


async def rename(service: Service, project: Project, key: str, name: str) -> None:
    """Rename a key."""
    await service.use_cases.change_keys.update(project, key, ProjectKeyChange(name=name), ORIGIN)


async def create_replay(service: Service, *, project: Project | None = None) -> int:
    """Create a replay of a project, or of all keys; return its id."""
    organization, slug = (project.organization.slug, project.slug) if project else (None, None)
    return await Replays(service.database).create(ORIGIN, organization=organization, project=slug, rate=None)


async def replay(service: Service, postgres: Postgres, project: Project | None = None) -> None:
    """Create and finish a replay."""
    await create_replay(service, project=project)
    await finish(service, postgres)


async def clear_outbox(postgres: Postgres) -> None:
    """Delete all rows of the outbox, as if they were published."""
    await postgres.execute("DELETE FROM outbox")


@pytest.fixture
async def project(service: Service) -> Project:
    """A project without keys."""
    return await make_project(service)


async def test_every_key_is_republished_in_its_current_state_and_version(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """The event has an id of its own and the header `replayed`."""
    first, second = await issue(service, project), await issue(service, project)
    await rename(service, project, second, "Renamed")
    before = {row["aggregateid"]: row for row in await postgres.fetch("SELECT * FROM outbox ORDER BY seq")}
    await clear_outbox(postgres)
    await replay(service, postgres, project)
    assert await outbox_events(postgres) == [(first, EventType.CREATED, 1), (second, EventType.UPDATED, 2)]
    for row in await postgres.fetch("SELECT * FROM outbox"):
        earlier = before[row["aggregateid"]]
        assert (row["payload"], row["shard"]) == (earlier["payload"], earlier["shard"])
        assert row["id"] != earlier["id"]
        assert orjson.loads(row["headers"])["replayed"] == "true"
    assert await postgres.fetchval("SELECT max(version) FROM project_key") == 2
    assert "secret" not in str([row["payload"] for row in await postgres.fetch("SELECT payload FROM outbox")])


async def test_deleted_keys_are_republished_as_tombstones_after_the_keys(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """Without a state, which is deleted; created_at is the time of the replay, so that no alert fires."""
    key, deleted_key = await issue(service, project), await issue(service, project)
    await service.use_cases.change_keys.delete(project, deleted_key, ORIGIN)
    await postgres.execute("UPDATE deleted_key SET deleted_at = 'epoch'")
    await clear_outbox(postgres)
    await replay(service, postgres, project)
    assert await outbox_events(postgres) == [(key, EventType.CREATED, 1), (deleted_key, EventType.DELETED, 2)]
    row = await postgres.fetchrow(
        "SELECT payload, clock_timestamp() - created_at < interval '1 minute' AS young FROM outbox ORDER BY seq DESC"
    )
    assert row is not None
    assert tuple(row) == ("null", True)


async def test_a_replay_is_limited_to_its_project_or_organization(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """Keys and tombstones of others are not republished."""
    sibling = await make_project(service, organization=project.organization, slug="sibling")
    stranger = await make_project(service, organization=await make_organization(service, "other"))
    expected = {}
    for one in (project, sibling, stranger):
        key, gone = await issue(service, one), await issue(service, one)
        await service.use_cases.change_keys.delete(one, gone, ORIGIN)
        expected[one.id] = {(key, EventType.CREATED, 1), (gone, EventType.DELETED, 2)}
    own, both = expected[project.id], expected[project.id] | expected[sibling.id]
    replays, slug = Replays(service.database), project.organization.slug
    for organization, of, keys in (
        (slug, project.slug, own),
        (slug, None, both),
        (None, None, both | expected[stranger.id]),
    ):
        await clear_outbox(postgres)
        job_id = await replays.create(ORIGIN, organization=organization, project=of, rate=None)
        await finish(service, postgres)
        events = await outbox_events(postgres)
        assert (set(events), len(events)) == (keys, len(keys))
        state = await replays.state(job_id)
        assert (state.done, state.total) == (len(keys), len(keys))


async def test_few_keys_among_many_are_found_in_limited_steps(
    service: Service, postgres: Postgres, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch reads more rows than its limit, even if none of them is of the organization."""
    monkeypatch.setattr(key_locks, "MAX_SCANNED_ROWS", 3)
    monkeypatch.setattr(deleted_keys, "MAX_SCANNED_ROWS", 3)
    stranger = await make_project(service, organization=await make_organization(service, "other"))
    await write_keys(postgres, stranger.id, 20)
    key = await issue(service, project)
    await postgres.execute(
        """
        INSERT INTO deleted_key (public_key, organization_id, project_id, version)
        SELECT lpad(number::text, 32, '0'), CASE number WHEN 17 THEN $1::bigint ELSE $2 END, 1, 2
        FROM generate_series(1, 20) AS number
        """,
        project.organization.id,
        stranger.organization.id,
    )
    await clear_outbox(postgres)
    job_id = await Replays(service.database).create(
        ORIGIN, organization=project.organization.slug, project=None, rate=None
    )
    await finish(service, postgres)
    assert await outbox_events(postgres) == [
        (key, EventType.CREATED, 1),
        ("0" * 30 + "17", EventType.DELETED, 2),
    ]
    assert (await Replays(service.database).state(job_id)).total == 2


async def test_a_replay_waits_for_a_concurrent_change_and_publishes_its_result(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """Otherwise the older state could follow the newer one, and compaction would keep it."""
    key = await issue(service, project)
    await clear_outbox(postgres)
    await create_replay(service)
    async with postgres.transaction():
        await postgres.execute("UPDATE project_key SET version = 2, label = 'Newer'")
        step = asyncio.create_task(service.jobs.step())
        await poll_until(lambda: wait_for_locks(postgres))
        assert await waiting(postgres) == 0
    await step
    assert await outbox_events(postgres) == [(key, EventType.UPDATED, 2)]


async def test_a_change_waits_for_a_concurrent_replay(service: Service, postgres: Postgres, project: Project) -> None:
    """The event of the newer version has the greater sequence number, since the replay locked the key."""
    key, last = await issue(service, project), await issue(service, project)
    await clear_outbox(postgres)
    await create_replay(service)
    async with postgres.transaction():
        await postgres.execute("SELECT FROM project_key WHERE public_key = $1 FOR UPDATE", last)
        step = asyncio.create_task(service.jobs.step())
        await poll_until(lambda: wait_for_locks(postgres))
        change = asyncio.create_task(rename(service, project, key, "Newer"))
        await poll_until(lambda: wait_for_locks(postgres, 2))
    await asyncio.gather(step, change)
    assert await outbox_events(postgres) == [
        (key, EventType.CREATED, 1),
        (last, EventType.CREATED, 1),
        (key, EventType.UPDATED, 2),
    ]


async def test_no_tombstone_follows_a_key_that_was_created_again(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """A replay that waits for the creation finds no deleted key; a tombstone before it is followed by its event."""
    key = await issue(service, project)
    await service.use_cases.change_keys.delete(project, key, ORIGIN)
    await clear_outbox(postgres)
    await create_replay(service)
    async with postgres.transaction():
        await postgres.execute("DELETE FROM deleted_key")
        step = asyncio.create_task(service.jobs.step())
        await poll_until(lambda: wait_for_locks(postgres))
    await step
    assert await outbox_events(postgres) == []


async def test_a_replay_of_a_parked_key_is_blocked_by_the_parked_event(
    service: Service, postgres: Postgres, project: Project
) -> None:
    """After a retry the parked event is first; events of other keys are not blocked."""
    key, other = await issue(service, project), await issue(service, project)
    await postgres.execute("UPDATE outbox SET parked_at = now() WHERE aggregateid = $1", key)
    await postgres.execute("DELETE FROM outbox WHERE aggregateid = $1", other)
    await replay(service, postgres)
    async with service.database.connection() as connection:
        unpublished, _ = await outbox_of(connection).select_unpublished(dict.fromkeys(range(SHARDS), 10), held=[])
        assert [row.event.public_key for row in unpublished] == [other]
        await unpark(connection)
        unpublished, _ = await outbox_of(connection).select_unpublished(dict.fromkeys(range(SHARDS), 10), held=[])
    assert [row.event.public_key for row in unpublished] == [key, key, other]
    assert "replayed" not in unpublished[0].event.headers


@pytest.mark.parametrize("seed", range(8))
async def test_replays_change_no_state_of_consumers(
    service: Service, postgres: Postgres, project: Project, seed: int
) -> None:
    """A consumer that applies only newer versions has the state of Postgres, which the last record has too."""
    random, keys = Random(seed), [f"{number:032x}" for number in range(4)]  # noqa: S311 -- no secret
    for number in range(40):
        key = random.choice(keys)
        exists = await postgres.fetchval("SELECT EXISTS (SELECT FROM project_key WHERE public_key = $1)", key)
        match random.randrange(4), exists:
            case 0, _:
                await replay(service, postgres, random.choice([project, None]))
            case _, False:
                await issue(service, project, key)
            case 1, True:
                await service.use_cases.change_keys.delete(project, key, ORIGIN)
            case _:
                await rename(service, project, key, f"Name {number}")
    await replay(service, postgres)
    rows = await postgres.fetch("SELECT aggregateid, version, type, payload, headers FROM outbox ORDER BY seq")
    events = [(row["aggregateid"], row["version"], _state(row["type"], row["payload"])) for row in rows]
    live = [one for one, row in zip(events, rows, strict=True) if "replayed" not in row["headers"]]
    with_replays, without = _applied(events), _applied(live)
    assert with_replays == without
    last = {key: (version, state) for key, version, state in events}
    assert last == with_replays
    names = {row["public_key"]: row["label"] for row in await postgres.fetch("SELECT * FROM project_key")}
    assert {key: state["name"] for key, (_, state) in last.items() if state} == names


def _state(kind: str, payload: str) -> dict[str, object] | None:
    state: dict[str, object] = orjson.loads(payload)
    return None if kind == EventType.DELETED else state


def _applied(events: list[tuple[str, int, dict[str, object] | None]]) -> dict[str, object]:
    """Return the state of a consumer that applies only newer versions."""
    held: dict[str, tuple[int, object]] = {}
    for key, version, state in events:
        if version > held.get(key, (0, None))[0]:
            held[key] = (version, state)
    return dict(held)
