"""`events reconcile --repair` of a key that only the topic has, while a request creates exactly this key."""

import asyncio
from typing import Any

import pytest

from service.app import Service
from service.command_app import write_context
from service.domain.differences import Difference, Kind
from service.domain.model import NewProjectKey
from service.postgres.deleted_keys import remove_deleted_key
from service.usecases import create_key
from service.usecases.reconcile.diff_store import DiffStore
from service.usecases.reconcile.repair import Repair
from testkit.polling import poll_until
from tests.conftest import ORIGIN, make_project
from tests.outbox import Postgres

_KEY = "a" * 32
_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_a_key_that_is_created_during_its_repair_is_not_deleted(
    service: Service, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repair waits for the create, and then finds the key."""
    project = await make_project(service)
    inserted, go_on = asyncio.Event(), asyncio.Event()

    async def remove_later(*args: Any, **options: Any) -> Any:
        removed = await remove_deleted_key(*args, **options)
        inserted.set()
        await go_on.wait()
        return removed

    monkeypatch.setattr(create_key, "remove_deleted_key", remove_later)
    creating = asyncio.create_task(
        service.use_cases.create_key.execute(NewProjectKey(public_key=_KEY), project, ORIGIN)
    )
    await inserted.wait()
    repair = Repair(write_context(service.database, service.settings))
    with DiffStore.open() as diff_store:
        phantom = Difference(Kind.PHANTOM, _KEY, 0, 5, 5, project.organization.id, project.id)
        diff_store.add_differences([phantom])
        repairing = asyncio.create_task(repair.run(diff_store, ORIGIN, lambda _done, _total: None))

        async def is_waiting() -> bool:
            return repairing.done() or await postgres.fetchval(_WAITING) > 0

        await poll_until(is_waiting)
        go_on.set()
        assert ((await creating).key.public_key, await repairing) == (_KEY, 0)
    assert await postgres.fetchval("SELECT count(*) FROM deleted_key") == 0
    types = await postgres.fetch("SELECT type FROM outbox WHERE aggregateid = $1", _KEY)
    assert [row["type"] for row in types] == ["projectkey.created"]
