"""Expired keys are disabled once, each with one event and one audit entry, whatever other processes do."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import orjson
import pytest

from service.app import Service, build, publishing, update_table_metrics
from service.domain.errors import UnavailableError, UncertainError
from service.domain.model import NewProjectKey, ProjectKeyChange
from service.postgres.key_writes import PreparedWrite
from service.settings import Settings
from service.usecases.expiry import BATCH_SIZE
from testkit.polling import poll_until
from tests.batch_jobs import write_keys
from tests.conftest import ORIGIN, make_project
from tests.lossy_database import Loss, Losses
from tests.outbox import Postgres

MANY = 2 * BATCH_SIZE + 50
"""Keys that are two batches and a part of one."""

_EXPIRE = "UPDATE project_key SET expires_at = now() - interval '1 min'"


async def _set_each(postgres: Postgres, keys: Sequence[str], *values: str) -> None:
    for key, of_key in zip(keys, values, strict=True):
        await postgres.execute(f"UPDATE project_key SET {of_key} WHERE public_key = $1", key)  # noqa: S608 -- constants


async def _disable_all(service: Service) -> None:
    is_left = True
    while is_left:
        with suppress(UnavailableError):  # as the task, which polls again
            is_left = await service.expiry.step()


async def _assert_each_expired_once(postgres: Postgres, keys: list[str]) -> None:
    rows = await postgres.fetch("SELECT public_key, is_active, version FROM project_key")
    assert sorted(map(tuple, rows)) == sorted((key, False, 2) for key in keys)
    events = await postgres.fetch("SELECT aggregateid, type, version, id, payload, headers FROM outbox")
    assert sorted(row["aggregateid"] for row in events) == sorted(keys)
    assert {(row["type"], row["version"]) for row in events} == {("projectkey.updated", 2)}
    assert {orjson.loads(row["payload"])["isActive"] for row in events} == {False}
    assert {orjson.loads(row["headers"])["x-request-id"] for row in events} == {"expiry"}
    entries = await postgres.fetch(
        "SELECT target, token_id, action, request_id, change_id, data FROM audit_entry"
        " WHERE action LIKE 'projectkey.%'"
    )
    assert Counter((row["target"], row["change_id"]) for row in entries) == Counter(
        (row["aggregateid"], row["id"]) for row in events
    )
    assert {(row["token_id"], row["action"], row["request_id"]) for row in entries} == {
        (None, "projectkey.expire", "expiry")
    }
    assert {row["data"] for row in entries} == {'{"isActive":{"from":true,"to":false}}'}


async def test_every_expired_key_is_disabled_in_bounded_batches(service: Service, postgres: Postgres) -> None:
    """A batch at a time."""
    keys = await write_keys(postgres, (await make_project(service)).id, MANY)
    await postgres.execute(_EXPIRE)
    assert [await service.expiry.step() for _ in range(3)] == [True, True, False]
    await _assert_each_expired_once(postgres, keys)
    assert await service.expiry.step() is False
    await _assert_each_expired_once(postgres, keys)


async def test_only_active_keys_that_have_expired_are_changed(service: Service, postgres: Postgres) -> None:
    """Not those without an expiry, with a later one, or disabled before."""
    keys = await write_keys(postgres, (await make_project(service)).id, 4)
    await _set_each(
        postgres,
        keys,
        "expires_at = now() - interval '1 ms'",
        "expires_at = NULL",
        "expires_at = now() + interval '1 h'",
        "expires_at = now() - interval '1 h', is_active = false",
    )
    await _disable_all(service)
    changed = await postgres.fetch("SELECT aggregateid FROM outbox")
    assert [row["aggregateid"] for row in changed] == keys[:1]


async def test_several_replicas_disable_each_key_once(service: Service, second: Service, postgres: Postgres) -> None:
    """At the same time."""
    keys = await write_keys(postgres, (await make_project(service)).id, MANY)
    await postgres.execute(_EXPIRE)
    await asyncio.gather(*(_disable_all(replica) for replica in (service, second, service, second)))
    await _disable_all(service)
    await _assert_each_expired_once(postgres, keys)


async def test_a_replica_that_was_paused_after_its_read_changes_nothing(
    service: Service, second: Service, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys that it has read are in another version by then, also if they were enabled again."""
    keys = await write_keys(postgres, (await make_project(service)).id, 3)
    await postgres.execute(_EXPIRE)
    commit = service.expiry._commit

    async def pause_and_commit(changes: Sequence[PreparedWrite]) -> int:
        await _disable_all(second)
        await postgres.execute(f"{_EXPIRE}, is_active = true, version = version + 1")
        return await commit(changes)

    monkeypatch.setattr(service.expiry, "_commit", pause_and_commit)
    assert await service.expiry.step() is False
    assert await postgres.fetchval("SELECT count(*) FROM outbox") == len(keys)
    assert await postgres.fetchval("SELECT bool_and(is_active) FROM project_key")


async def test_a_locked_key_delays_no_other(service: Service, postgres: Postgres) -> None:
    """The next poll finds it."""
    keys = await write_keys(postgres, (await make_project(service)).id, 5)
    await postgres.execute(_EXPIRE)
    async with service.database.transaction() as other:
        await other.execute("SELECT FROM project_key WHERE public_key = $1 FOR UPDATE", keys[0])
        await _disable_all(service)
        assert await postgres.fetchval("SELECT count(*) FROM outbox") == 4
    await _disable_all(service)
    await _assert_each_expired_once(postgres, keys)


async def test_a_key_that_postgres_rejects_delays_no_other(service: Service, postgres: Postgres) -> None:
    """The error is counted; the key is tried again."""
    keys = await write_keys(postgres, (await make_project(service)).id, 5)
    await postgres.execute(_EXPIRE)
    await postgres.execute(f"ALTER TABLE outbox ADD CONSTRAINT bad CHECK (aggregateid <> '{keys[2]}')")
    await _disable_all(service)
    assert await postgres.fetchval("SELECT count(*) FROM outbox") == 4
    failed = service.registry.get_sample_value(
        "projectkeys_job_failures_total", {"kind": "projectkey.expire", "error": "CheckViolationError"}
    )
    assert failed == 1
    await postgres.execute("ALTER TABLE outbox DROP CONSTRAINT bad")
    await _disable_all(service)
    await _assert_each_expired_once(postgres, keys)


@pytest.mark.parametrize("loss", Loss)
async def test_a_batch_whose_commit_got_no_response_is_committed_once(
    lossy: Service, losses: Losses, postgres: Postgres, loss: Loss
) -> None:
    """The next poll finds its keys if it was not committed."""
    keys = await write_keys(postgres, (await make_project(lossy)).id, 5)
    await postgres.execute(_EXPIRE)
    losses.next.extend([None, loss])
    with pytest.raises(UncertainError):
        await lossy.expiry.step()
    await _disable_all(lossy)
    await _assert_each_expired_once(postgres, keys)


async def test_a_key_of_a_project_that_is_being_deleted_is_left_to_the_deletion(
    service: Service, postgres: Postgres
) -> None:
    """Its next event is that of its deletion."""
    await write_keys(postgres, (await make_project(service)).id, 3)
    await postgres.execute(_EXPIRE)
    await postgres.execute("UPDATE project SET deleted_at = now()")
    assert await service.expiry.step() is False
    assert await postgres.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_change_at_the_time_of_the_expiry_and_the_expiry_both_happen(
    service: Service, postgres: Postgres
) -> None:
    """In either order, in two versions."""
    project = await make_project(service)
    [key] = await write_keys(postgres, project.id, 1)
    await postgres.execute(_EXPIRE)
    change = ProjectKeyChange(name="Renamed")
    await asyncio.gather(service.use_cases.change_keys.update(project, key, change, ORIGIN), service.expiry.step())
    await _disable_all(service)
    row = await postgres.fetchrow("SELECT label, is_active, version FROM project_key")
    assert row is not None
    assert tuple(row) == ("Renamed", False, 3)


async def test_a_process_that_does_not_publish_disables_expired_keys(settings: Settings, postgres: Postgres) -> None:
    """By itself, soon after they have expired, although its topic does not exist."""
    built = build(settings)
    async with publishing(built, publish=False):
        await built.use_cases.create_key.execute(NewProjectKey(), await make_project(built), ORIGIN)
        await postgres.execute("UPDATE project_key SET expires_at = clock_timestamp() + interval '100 ms'")
        await poll_until(lambda: postgres.fetchval("SELECT NOT is_active FROM project_key"))
    assert await postgres.fetchval("SELECT updated_at >= expires_at FROM project_key")


async def test_the_gauge_counts_keys_that_expire_within_a_week(service: Service, postgres: Postgres) -> None:
    """Not those that are disabled, have a successor, or expire later."""
    keys = await write_keys(postgres, (await make_project(service)).id, 6)
    await _set_each(
        postgres,
        keys,
        "expires_at = now() + interval '6 days'",
        "expires_at = now() + interval '1 min'",
        "expires_at = now() + interval '8 days'",
        "expires_at = now() + interval '1 day', is_active = false",
        "expires_at = now() + interval '1 day', rotated_to = public_key",
        "expires_at = NULL",
    )
    await update_table_metrics(service)
    assert service.registry.get_sample_value("projectkeys_keys_expiring") == 2
