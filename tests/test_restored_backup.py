"""The restore of an older backup as docs/kubernetes.md describes it: compare, repair, create keys again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import pytest

from projectkeys_servers.servers import Servers
from service.app import build, publishing
from service.domain.differences import Kind
from service.domain.model import NewProjectKey, Project
from service.settings import Settings
from tests.commands import run
from tests.conftest import ORIGIN, _new_database, make_project
from tests.inconsistencies import ReconcileSetup


@asynccontextmanager
async def running(settings: Settings, url: str, project: Project | None = None) -> AsyncIterator[ReconcileSetup]:
    """Run a service with a publisher on a database during the block."""
    service = build(replace(settings, database_url=url))
    postgres = await asyncpg.connect(url)
    try:
        async with publishing(service):
            project = project or await make_project(service)
            [bootstrap] = settings.kafka_bootstrap_servers
            yield ReconcileSetup(service, project, postgres, bootstrap, settings.kafka_topic)
    finally:
        await postgres.close()


async def reconcile(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and its differences."""
    capsys.readouterr()
    code = await run("events", "reconcile", "--json", *arguments)
    [output] = [line for line in capsys.readouterr().out.splitlines() if "\x1b" not in line]
    return code, orjson.loads(output)["differences"]


async def test_topic_and_consumers_follow_a_restored_database(
    servers: Servers,
    template: str,
    settings: Settings,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Changes after the backup are undone; a key can be created again with its public key."""
    settings = replace(settings, kafka_topic=topic)
    async with _new_database(servers, template) as url:
        async with running(settings, url) as before:
            kept, changed, removed = [await before.issue() for _ in range(3)]
            await before.published()
        # The backup is a copy of the database at this time.
        async with _new_database(servers, url.rpartition("/")[2]) as backup:
            async with running(settings, url, before.project) as lost:
                await lost.rename(changed)
                await lost.delete(removed)
                in_use, forgotten = [await lost.issue() for _ in range(2)]
                await lost.published()
            monkeypatch.setenv("DATABASE_URL", backup)
            monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", ",".join(settings.kafka_bootstrap_servers))
            monkeypatch.setenv("KAFKA_TOPIC", topic)
            monkeypatch.setenv("INGEST_URL", settings.ingest_url)
            async with running(settings, backup, before.project) as restored:
                code, differences = await reconcile(capsys)
                assert (code, {kind: found["count"] for kind, found in differences.items()}) == (
                    1,
                    {Kind.PHANTOM: 4},
                )
                assert (await reconcile(capsys, "--repair"))[0] == 1
                await restored.published()
                assert await reconcile(capsys) == (0, {})
                # Consumers see changes that are made after the repair; before it, they ignore the versions.
                await restored.service.use_cases.create_key.execute(
                    NewProjectKey(name="Again", public_key=in_use), restored.project, ORIGIN
                )
                await restored.rename(changed)
                await restored.published()
                consumed = await restored.consumed()
    assert consumed.keys() == {kept, changed, removed, in_use}
    assert (consumed[in_use], consumed[changed]) == ("Again", "Newer")
    assert forgotten not in consumed
