"""Writes whose COMMIT is cancelled while it waits for a synchronous standby."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import asyncpg
import pytest

from service.app import Service
from service.domain.model import NewProjectKey, ProjectKeyChange
from tests.conftest import ORIGIN, make_project
from tests.lossy_database import Loss, Losses

Postgres: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def synchronous_standby(postgres: Postgres, losses: Losses) -> AsyncIterator[None]:
    """From the first fault on, a COMMIT waits for a synchronous standby that does not exist."""

    async def wait_for(name: str) -> None:
        await postgres.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        await postgres.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(10):
            while await postgres.fetchval("SHOW synchronous_standby_names") != name:
                await asyncio.sleep(0.01)

    losses.meanwhile = lambda: wait_for("absent")
    yield
    await wait_for("")


@pytest.mark.usefixtures("synchronous_standby")
@pytest.mark.parametrize("action", ["create", "update", "delete"])
async def test_a_change_whose_replication_was_cancelled_is_not_reported_as_done(
    lossy: Service, losses: Losses, action: str
) -> None:
    """The retry finds the change on the primary, and a promoted standby would not have it."""
    project = await make_project(lossy)
    use_cases = lossy.use_cases
    key = (await use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "create": lambda: use_cases.create_key.execute(NewProjectKey(), project, ORIGIN),
        "update": lambda: use_cases.change_keys.update(project, key.public_key, ProjectKeyChange(name="New"), ORIGIN),
        "delete": lambda: use_cases.change_keys.delete(project, key.public_key, ORIGIN),
    }
    reads = [] if action == "create" else [None]
    losses.next.extend([*reads, Loss.AFTER_COMMIT])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await changes[action]()
    assert losses.suffered == 1
