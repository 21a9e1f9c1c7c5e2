"""Writes whose connection breaks at COMMIT: each is executed exactly once, and its response is correct."""

import asyncio
from typing import TypeAlias

import asyncpg
import pytest

from service.app import Service
from service.domain.errors import NotFoundError, TakenError, UnavailableError, UncertainError
from service.domain.model import (
    NewProjectKey,
    OrganizationChange,
    ProjectChange,
    ProjectKeyChange,
)
from service.usecases.writes import WrittenKey
from tests.conftest import ORIGIN, make_organization, make_project
from tests.lossy_database import Loss, Losses

Postgres: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

BOTH = pytest.mark.parametrize("loss", list(Loss))
READ_OR_WRITE = pytest.mark.parametrize("uses", [0, 1], ids=["read", "write"])
"""The uses of a connection before the one that breaks: a change reads its key first."""


async def _events(postgres: Postgres) -> list[tuple[str, int]]:
    """Return the type and the version of every event, in their order."""
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
    """Whether the first attempt was committed or not, and however often the connection breaks."""
    project = await make_project(lossy)
    new_key = NewProjectKey(public_key=public_key)
    losses.next.extend([loss] * times)
    created = await lossy.use_cases.create_key.execute(new_key, project, ORIGIN)
    assert losses.suffered == times
    assert await _keys(postgres) == [created.key.public_key]
    assert await _events(postgres) == [("created", 1)]
    assert await postgres.fetchval("SELECT id FROM outbox") == created.event_id
    assert await postgres.fetchval("SELECT count(*) FROM audit_entry WHERE change_id = $1", created.event_id) == 1


@BOTH
async def test_the_creates_of_a_lost_batch_are_executed_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """Each caller determines its own outcome; a create that is refused in the batch is refused again."""
    project = await make_project(lossy)
    taken = (await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key
    new_keys = [NewProjectKey() for _ in range(20)] + [NewProjectKey(secret_key=taken.secret_key)]
    losses.next.append(loss)
    outcomes = await asyncio.gather(
        *(lossy.use_cases.create_key.execute(new_key, project, ORIGIN) for new_key in new_keys),
        return_exceptions=True,
    )
    created = [outcome for outcome in outcomes if isinstance(outcome, WrittenKey)]
    assert len(created) == 20
    assert isinstance(outcomes[-1], TakenError)
    assert losses.suffered == 1
    assert sorted(await _keys(postgres)) == sorted(
        [taken.public_key, *(outcome.key.public_key for outcome in created)]
    )
    assert len(await _events(postgres)) == 21


@pytest.mark.parametrize("public_key", [None, "c" * 32])
async def test_a_key_that_was_committed_and_then_deleted_is_not_created_again(
    lossy: Service, losses: Losses, postgres: Postgres, public_key: str | None
) -> None:
    """Another client found it in a list and deleted it before the retry."""
    project = await make_project(lossy)

    async def delete() -> None:
        [created] = await _keys(postgres)
        await lossy.use_cases.change_keys.delete(project, created, ORIGIN)

    losses.next.append(Loss.AFTER_COMMIT)
    losses.meanwhile = delete
    await lossy.use_cases.create_key.execute(NewProjectKey(public_key=public_key), project, ORIGIN)
    assert await _keys(postgres) == []
    assert await _events(postgres) == [("created", 1), ("deleted", 2)]


@BOTH
@READ_OR_WRITE
async def test_an_update_makes_one_version(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss, uses: int
) -> None:
    """The response contains the id of its event."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key
    losses.next.extend([None] * uses + [loss])
    updated = await lossy.use_cases.change_keys.update(project, key.public_key, ProjectKeyChange(name="New"), ORIGIN)
    assert (updated.key.label, updated.key.version, losses.suffered) == ("New", 2, 1)
    assert await _events(postgres) == [("created", 1), ("updated", 2)]
    assert await postgres.fetchval("SELECT id FROM outbox WHERE version = 2") == updated.event_id


async def test_a_committed_update_is_not_repeated_over_a_later_one(
    service: Service, lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """The update of another client in another process was committed after it and stays."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key

    async def change() -> None:
        await service.use_cases.change_keys.update(project, key.public_key, ProjectKeyChange(name="Later"), ORIGIN)

    losses.next.extend([None, Loss.AFTER_COMMIT])
    losses.meanwhile = change
    updated = await lossy.use_cases.change_keys.update(
        project, key.public_key, ProjectKeyChange(name="Earlier"), ORIGIN
    )
    assert (updated.key.label, updated.key.version) == ("Later", 3)
    assert await _events(postgres) == [("created", 1), ("updated", 2), ("updated", 3)]


async def test_a_committed_update_of_a_key_that_was_then_deleted_is_no_404(
    service: Service, lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """Consumers receive its event, so its client must not receive an error."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key

    async def delete() -> None:
        await service.use_cases.change_keys.delete(project, key.public_key, ORIGIN)

    losses.next.extend([None, Loss.AFTER_COMMIT])
    losses.meanwhile = delete
    updated = await lossy.use_cases.change_keys.update(project, key.public_key, ProjectKeyChange(name="New"), ORIGIN)
    assert (updated.key.label, updated.key.version) == ("New", 2)
    assert await _events(postgres) == [("created", 1), ("updated", 2), ("deleted", 3)]


async def test_an_update_without_effect_has_no_event_after_a_retry(
    lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """There is no event for which the client could wait."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.execute(NewProjectKey(name="Same"), project, ORIGIN)).key
    losses.next.extend([None, Loss.AFTER_COMMIT])
    updated = await lossy.use_cases.change_keys.update(project, key.public_key, ProjectKeyChange(name="Same"), ORIGIN)
    assert (updated.key.version, updated.event_id, losses.suffered) == (1, None, 1)
    assert await _events(postgres) == [("created", 1)]


@BOTH
@READ_OR_WRITE
async def test_a_key_is_deleted_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss, uses: int
) -> None:
    """The client that deleted it does not get 404; the next one does."""
    project = await make_project(lossy)
    key = (await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key
    losses.next.extend([None] * uses + [loss])
    deleted = await lossy.use_cases.change_keys.delete(project, key.public_key, ORIGIN)
    assert await _events(postgres) == [("created", 1), ("deleted", 2)]
    assert await postgres.fetchval("SELECT id FROM outbox WHERE version = 2") == deleted.event_id
    with pytest.raises(NotFoundError):
        await lossy.use_cases.change_keys.delete(project, key.public_key, ORIGIN)


async def test_a_committed_update_of_a_project_that_was_then_deleted_is_no_404(
    lossy: Service, losses: Losses
) -> None:
    """As for a key."""
    project = await make_project(lossy)

    async def delete() -> None:
        await lossy.use_cases.projects.delete(project, ORIGIN)

    losses.next.append(Loss.AFTER_COMMIT)
    losses.meanwhile = delete
    updated = await lossy.use_cases.projects.update(project, ProjectChange(name="New"), ORIGIN)
    assert (updated.name, losses.suffered) == ("New", 1)


@BOTH
async def test_an_organization_and_a_project_are_created_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """A retry does not report their own slugs as taken; another create does."""
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
async def test_changes_of_tenants_are_executed_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """A renamed project, a new ingest URL with its two jobs, a deleted project."""
    project = await make_project(lossy)
    await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)
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


async def test_an_unreachable_database_is_reported_without_a_retry(lossy: Service, losses: Losses) -> None:
    """Only writes that may have been committed are retried."""
    project = await make_project(lossy)
    await lossy.database.close()
    with pytest.raises(UnavailableError) as raised:
        await asyncio.wait_for(lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN), 5)
    assert not isinstance(raised.value, UncertainError)
    assert losses.suffered == 0
