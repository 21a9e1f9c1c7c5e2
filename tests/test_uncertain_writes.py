"""Writes whose connection breaks round the commit: each happens exactly once, and its answer is true."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from service.app import Service, build
from service.domain.errors import NotFoundError, TakenError, UnavailableError, UncertainError
from service.domain.model import (
    NewProjectKey,
    OrganizationChange,
    ProjectChange,
    ProjectKeyChange,
)
from service.postgres.database import Limits
from service.settings import Settings
from service.usecases.create_key import CreatedKey
from tests.conftest import ORIGIN, make_organization, make_project
from tests.lossy_database import Loss, Losses, LossyDatabase

Postgres: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

BOTH = pytest.mark.parametrize("loss", list(Loss))


@pytest.fixture
def losses() -> Losses:
    """What is going to be lost."""
    return Losses()


@pytest.fixture
async def lossy(
    settings: Settings, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """The service on a line that breaks, without its publisher."""
    database = LossyDatabase(settings.database_url, Limits())
    database.losses = losses
    monkeypatch.setattr("service.app.open_database", lambda _: database)
    joined = build(settings)
    await database.start()
    yield joined
    await database.close()


async def _events(postgres: Postgres) -> list[tuple[str, int]]:
    """Type and version of every event, in their order."""
    rows = await postgres.fetch("SELECT type, version FROM outbox ORDER BY seq")
    return [(row["type"].removeprefix("projectkey."), row["version"]) for row in rows]


async def _keys(postgres: Postgres) -> list[str]:
    rows = await postgres.fetch("SELECT public_key FROM project_key ORDER BY id")
    return [row["public_key"] for row in rows]


@BOTH
@pytest.mark.parametrize("public_key", [None, "c" * 32])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_create_makes_one_key(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss, public_key: str | None, times: int
) -> None:
    """Whether the first try was committed or not, and however often the line breaks."""
    project = await make_project(lossy)
    asked = NewProjectKey(public_key=public_key)
    losses.next.extend([loss] * times)
    made = await lossy.use_cases.create_key.issue(asked, project, ORIGIN)
    assert losses.suffered == times
    assert await _keys(postgres) == [made.key.public_key]
    assert await _events(postgres) == [("created", 1)]
    assert await postgres.fetchval("SELECT id FROM outbox") == made.event_id
    assert (
        await postgres.fetchval("SELECT count(*) FROM audit_entry WHERE change_id = $1", made.event_id) == 1
    )


@BOTH
async def test_creates_that_shared_a_lost_flight_are_all_made_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """Each caller finds out for itself; a neighbour that is refused is refused all the same."""
    project = await make_project(lossy)
    taken = (await lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN)).key
    asked = [NewProjectKey() for _ in range(20)] + [NewProjectKey(secret_key=taken.secret_key)]
    losses.next.append(loss)
    outcomes = await asyncio.gather(
        *(lossy.use_cases.create_key.issue(one, project, ORIGIN) for one in asked), return_exceptions=True
    )
    made = [one for one in outcomes if isinstance(one, CreatedKey)]
    assert len(made) == 20
    assert isinstance(outcomes[-1], TakenError)
    assert losses.suffered == 1
    assert sorted(await _keys(postgres)) == sorted([taken.public_key, *(one.key.public_key for one in made)])
    assert len(await _events(postgres)) == 21


async def test_a_key_that_was_committed_unseen_and_deleted_since_does_not_come_back(
    lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """Somebody saw it in a list and deleted it before its maker asked again."""
    project = await make_project(lossy)

    async def delete() -> None:
        [public_key] = await _keys(postgres)
        await lossy.use_cases.change_keys.delete(project, public_key, ORIGIN)

    losses.next.append(Loss.AFTER_COMMIT)
    losses.meanwhile = delete
    await lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN)
    assert await _keys(postgres) == []
    assert await _events(postgres) == [("created", 1), ("deleted", 2)]


@BOTH
async def test_an_update_makes_one_version(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """And answers with the event of that."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN)).key
    losses.next.append(loss)
    changed = await lossy.use_cases.change_keys.update(
        project, key.public_key, ProjectKeyChange(name="New"), ORIGIN
    )
    assert (changed.key.label, changed.key.version, losses.suffered) == ("New", 2, 1)
    assert await _events(postgres) == [("created", 1), ("updated", 2)]
    assert await postgres.fetchval("SELECT id FROM outbox WHERE version = 2") == changed.event_id


async def test_an_update_that_was_committed_unseen_is_not_done_again_over_a_later_one(
    lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """The other caller's change came after it and stands."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN)).key

    async def change() -> None:
        await lossy.use_cases.change_keys.update(
            project, key.public_key, ProjectKeyChange(name="Later"), ORIGIN
        )

    losses.next.append(Loss.AFTER_COMMIT)
    losses.meanwhile = change
    changed = await lossy.use_cases.change_keys.update(
        project, key.public_key, ProjectKeyChange(name="Earlier"), ORIGIN
    )
    assert (changed.key.label, changed.key.version) == ("Later", 3)
    assert await _events(postgres) == [("created", 1), ("updated", 2), ("updated", 3)]


async def test_an_update_that_was_committed_unseen_is_no_404_when_the_key_is_deleted_since(
    lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """Consumers are told of it, so its caller must not be told that there was nothing to change."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN)).key

    async def delete() -> None:
        await lossy.use_cases.change_keys.delete(project, key.public_key, ORIGIN)

    losses.next.append(Loss.AFTER_COMMIT)
    losses.meanwhile = delete
    changed = await lossy.use_cases.change_keys.update(
        project, key.public_key, ProjectKeyChange(name="New"), ORIGIN
    )
    assert (changed.key.label, changed.key.version) == ("New", 2)
    assert await _events(postgres) == [("created", 1), ("updated", 2), ("deleted", 3)]


async def test_an_update_that_changes_nothing_names_no_event_though_its_commit_was_unseen(
    lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """There is none that its caller could wait for."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.issue(NewProjectKey(name="Same"), project, ORIGIN)).key
    losses.next.append(Loss.AFTER_COMMIT)
    changed = await lossy.use_cases.change_keys.update(
        project, key.public_key, ProjectKeyChange(name="Same"), ORIGIN
    )
    assert (changed.key.version, changed.event_id, losses.suffered) == (1, None, 1)
    assert await _events(postgres) == [("created", 1)]


@BOTH
async def test_a_delete_is_one_deletion(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """Not a 404 for whoever deleted it; for the next one it is."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN)).key
    losses.next.append(loss)
    event_id = await lossy.use_cases.change_keys.delete(project, key.public_key, ORIGIN)
    assert await _events(postgres) == [("created", 1), ("deleted", 2)]
    assert await postgres.fetchval("SELECT id FROM outbox WHERE version = 2") == event_id
    with pytest.raises(NotFoundError):
        await lossy.use_cases.change_keys.delete(project, key.public_key, ORIGIN)


async def test_a_projects_update_that_was_committed_unseen_is_no_404_when_it_is_deleted_since(
    lossy: Service, losses: Losses
) -> None:
    """As with a key."""
    project = await make_project(lossy)

    async def delete() -> None:
        await lossy.use_cases.projects.delete(project, ORIGIN)

    losses.next.append(Loss.AFTER_COMMIT)
    losses.meanwhile = delete
    changed = await lossy.use_cases.projects.update(project, ProjectChange(name="New"), ORIGIN)
    assert (changed.name, losses.suffered) == ("New", 1)


@BOTH
async def test_an_organization_and_a_project_are_made_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """Their slugs are not taken by themselves; those of others are."""
    losses.next.append(loss)
    organization = await make_organization(lossy)
    losses.next.append(loss)
    project = await make_project(lossy, organization=organization)
    assert losses.suffered == 2
    assert await postgres.fetchval("SELECT count(*) FROM organization WHERE id = $1", organization.id) == 1
    assert await postgres.fetchval("SELECT count(*) FROM project WHERE id = $1", project.id) == 1
    assert await postgres.fetchval("SELECT count(*) FROM audit_entry") == 2
    with pytest.raises(TakenError):
        await make_organization(lossy)
    with pytest.raises(TakenError):
        await make_project(lossy, organization=organization)


@BOTH
async def test_changes_of_tenants_are_made_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """A renamed project, another ingest URL with its two passes over the keys, a deleted project."""
    project = await make_project(lossy)
    await lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN)
    losses.next.append(loss)
    renamed = await lossy.use_cases.projects.update(project, ProjectChange(slug="renamed"), ORIGIN)
    losses.next.append(loss)
    await lossy.use_cases.organizations.update(
        project.organization, OrganizationChange(ingest_url="https://relay.example.com"), ORIGIN
    )
    losses.next.append(loss)
    await lossy.use_cases.projects.delete(renamed, ORIGIN)
    assert losses.suffered == 3
    actions = await postgres.fetch("SELECT action FROM audit_entry ORDER BY id DESC LIMIT 3")
    assert [row["action"] for row in actions] == ["project.remove", "organization.edit", "project.edit"]
    assert await postgres.fetchval("SELECT count(*) FROM batch_job") == 2
    assert await _events(postgres) == [("created", 1), ("deleted", 2)]
    assert await postgres.fetchval("SELECT count(*) FROM project") == 0


async def test_a_database_that_is_away_from_the_start_is_told_at_once(lossy: Service, losses: Losses) -> None:
    """Only what may have been committed is worth waiting for."""
    project = await make_project(lossy)
    await lossy.database.close()
    with pytest.raises(UnavailableError) as told:
        await asyncio.wait_for(lossy.use_cases.create_key.issue(NewProjectKey(), project, ORIGIN), 5)
    assert not isinstance(told.value, UncertainError)
    assert losses.suffered == 0
