"""Rotations whose commits get no response, of several replicas, and with a wait for Kafka."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.app import Service
from service.concurrency.database_clock import DATABASE_CLOCK
from service.domain.errors import KeyStateError
from service.domain.idempotency import IdempotencyKey
from service.domain.model import NewProjectKey, Rotation
from service.usecases.rotate_key import second_event_id
from tests.conftest import ORIGIN, Api, MakeApi, make_project
from tests.lossy_database import Loss, Losses
from tests.outbox import Postgres


async def _versions(postgres: Postgres) -> list[tuple[str, str, int]]:
    rows = await postgres.fetch("SELECT aggregateid, type, version FROM outbox ORDER BY seq")
    return [(row["aggregateid"], row["type"].removeprefix("projectkey."), row["version"]) for row in rows]


@pytest.mark.parametrize("loss", Loss)
async def test_a_rotation_whose_commit_got_no_response_happens_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """The response has the key that was committed, and the id of its event."""
    project = await make_project(lossy)
    old = (await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key.public_key
    losses.next.append(loss)
    rotated = await lossy.use_cases.rotate_key.execute(project, old, Rotation(), ORIGIN)
    new = rotated.key.public_key
    assert losses.suffered == 1
    assert await _versions(postgres) == [(old, "created", 1), (new, "created", 1), (old, "updated", 2)]
    assert await postgres.fetchval("SELECT id FROM outbox WHERE aggregateid = $1", new) == rotated.event_id
    assert await postgres.fetchval("SELECT secret_key FROM project_key WHERE public_key = $1", new) == (
        rotated.key.secret_key
    )


async def test_the_overlap_begins_at_the_time_of_the_database(
    service: Service, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has just started knows only its own clock, which may be wrong."""
    project = await make_project(service)
    old = (await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key.public_key
    monkeypatch.setattr(DATABASE_CLOCK, "_last", (datetime(2001, 1, 1, tzinfo=UTC), time.monotonic()))
    await service.use_cases.rotate_key.execute(project, old, Rotation(overlap=3600), ORIGIN)
    left = await postgres.fetchval("SELECT expires_at - now() FROM project_key WHERE public_key = $1", old)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_a_rotation_that_was_committed_before_the_new_key_was_deleted_is_not_repeated(
    lossy: Service, losses: Losses, postgres: Postgres
) -> None:
    """Another client deleted the key before the retry."""
    project = await make_project(lossy)
    old = (await lossy.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key.public_key

    async def delete() -> None:
        new = await postgres.fetchval("SELECT public_key FROM project_key WHERE public_key <> $1", old)
        await lossy.use_cases.change_keys.delete(project, new, ORIGIN)

    losses.next.append(Loss.AFTER_COMMIT)
    losses.meanwhile = delete
    await lossy.use_cases.rotate_key.execute(project, old, Rotation(overlap=0), ORIGIN)
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 1


async def test_two_replicas_rotate_once_under_one_idempotency_key(
    service: Service, second: Service, postgres: Postgres
) -> None:
    """The one that comes second returns the key of the first."""
    project = await make_project(service)
    old = (await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key.public_key
    idempotency_key, origin = IdempotencyKey(1, "once", b"0" * 32), replace(ORIGIN, token_id=1)
    results = await asyncio.gather(
        *(
            replica.use_cases.rotate_key.execute(project, old, Rotation(), origin, idempotency_key)
            for replica in (service, second)
        )
    )
    assert len({(result.key.public_key, result.key.secret_key, result.event_id) for result in results}) == 1
    assert sorted(result.replayed for result in results) == [False, True]
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 2


async def test_two_replicas_rotate_once_without_one(service: Service, second: Service, postgres: Postgres) -> None:
    """The one that comes second is refused."""
    project = await make_project(service)
    old = (await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key.public_key
    results = await asyncio.gather(
        *(replica.use_cases.rotate_key.execute(project, old, Rotation(), ORIGIN) for replica in (service, second)),
        return_exceptions=True,
    )
    assert sorted(isinstance(result, KeyStateError) for result in results) == [False, True]
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 2


async def test_the_wait_for_kafka_ends_after_both_events(publishing_service: Service, make_api: MakeApi) -> None:
    """Also for a repetition, which knows only the id of the first one."""
    is_published = publishing_service.use_cases.acknowledgements.is_published
    api: Api = await make_api(publishing_service)
    old = (await (await api.create({})).json())["id"]
    headers = {"Prefer": "wait=20", "Idempotency-Key": "wait"}
    for replayed in (None, "true"):
        response = await api.request("POST", f"{api.keys_path}{old}/rotate/", json={}, headers=headers)
        assert (response.status, response.headers["Event-Status"]) == (201, "published")
        assert response.headers.get("Idempotent-Replayed") == replayed
        event_id = UUID(response.headers["Event-Id"])
        assert await is_published(event_id, (await response.json())["id"])
        assert await is_published(second_event_id(event_id, old), old)


async def test_an_event_of_the_old_key_that_is_not_published_is_waited_for(api: Api, postgres: Postgres) -> None:
    """The status is pending while one of the two events is in the outbox."""
    old = (await (await api.create({})).json())["id"]
    headers = {"Prefer": "wait=0", "Idempotency-Key": "wait"}
    response = await api.request("POST", f"{api.keys_path}{old}/rotate/", json={}, headers=headers)
    event_id = response.headers["Event-Id"]
    await postgres.execute("DELETE FROM outbox WHERE id = $1::text::uuid OR version = 1", event_id)
    assert await postgres.fetch("SELECT id FROM outbox")
    for status in ("pending", "published"):
        response = await api.request("POST", f"{api.keys_path}{old}/rotate/", json={}, headers=headers)
        assert (response.status, response.headers["Event-Status"]) == (201, status)
        await postgres.execute("DELETE FROM outbox")
