"""`events replay`: the command, and what consumers receive while keys change."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import orjson
import pytest
from aiokafka import ConsumerRecord

from service.app import Service, build, publishing
from service.domain.errors import NotFoundError
from service.domain.model import NewProjectKey, Project, ProjectKeyChange
from service.settings import Settings
from service.usecases import jobs
from service.usecases.replays import Replays
from testkit.polling import poll_until
from tests.batch_jobs import finish, write_keys
from tests.commands import run
from tests.conftest import ORIGIN, make_project
from tests.events import header, reading
from tests.outbox import Postgres, waiting
from tests.processes import running


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the database of the commands."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)


@pytest.fixture
async def publishing_replica(settings: Settings, topic: str) -> AsyncIterator[Service]:
    """A service that publishes and runs jobs."""
    service = build(replace(settings, kafka_topic=topic))
    async with publishing(service):
        yield service


async def _is_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


def _output(text: str) -> list[str]:
    """Return the lines without the log of the service in the same process."""
    return [line for line in text.splitlines() if "\x1b" not in line]


async def test_it_ends_when_every_key_is_republished(
    publishing_replica: Service,
    topic: str,
    kafka_bootstrap: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The records have the same state, the header `replayed`, and ids of their own."""
    project = await make_project(publishing_replica)
    for _ in range(3):
        await publishing_replica.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)
    capsys.readouterr()
    assert await run("events", "replay", "--project", f"{project.organization.slug}/{project.slug}") == 0
    captured = capsys.readouterr()
    assert _output(captured.out) == ["Keys republished: 3."]
    assert "Replay 1 queued" in captured.err
    assert "No publisher is running" not in captured.err
    async with reading(kafka_bootstrap, topic) as reader:
        seen = await reader.count(6)
    records = defaultdict(list)
    for one in seen:
        records[one.key].append(one)
    for first, again in records.values():
        assert (header(first, "replayed"), header(again, "replayed")) == ("", "true")
        assert first.value == again.value
        assert header(first, "ce_id") != header(again, "ce_id")


async def test_no_older_version_follows_a_newer_one_while_keys_change(
    publishing_replica: Service,
    postgres: Postgres,
    topic: str,
    kafka_bootstrap: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keys are renamed, deleted and created again during replays; the versions of each key never decrease."""
    monkeypatch.setattr(jobs, "BATCH_SIZE", 7)
    project = await make_project(publishing_replica)
    keys = [f"{number:032x}" for number in range(60)]
    await asyncio.gather(*(_issue(publishing_replica, project, key) for key in keys))
    changing = asyncio.create_task(_change_keys(publishing_replica, project, keys))
    replays = Replays(publishing_replica.database)
    for _ in range(4):
        job_id = await replays.create(ORIGIN, organization=None, project=None, rate=None)
        publishing_replica.jobs.wake()
        await poll_until(partial(_is_done, replays, job_id))
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    await poll_until(lambda: _is_empty(postgres))
    rows = await postgres.fetch("SELECT public_key, version FROM project_key")
    deleted = await postgres.fetch("SELECT public_key, version FROM deleted_key")
    expected = {row["public_key"]: row["version"] for row in (*rows, *deleted)}
    async with reading(kafka_bootstrap, topic) as reader:
        seen = await reader.until(lambda seen: _newest(seen) == expected)
    versions = defaultdict(list)
    for one in seen:
        versions[one.key.decode()].append(int(header(one, "ce_keyversion")))
    assert all(of_key == sorted(of_key) for of_key in versions.values())
    assert sum(header(one, "replayed") == "true" for one in seen) >= 4 * len(keys) - 20
    last = {one.key.decode(): one for one in seen}
    assert {key for key, one in last.items() if one.value is None} == {row["public_key"] for row in deleted}


def _newest(seen: list[ConsumerRecord]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for one in seen:
        key, version = one.key.decode(), int(header(one, "ce_keyversion"))
        newest[key] = max(version, newest.get(key, 0))
    return newest


async def _issue(service: Service, project: Project, key: str) -> None:
    await service.use_cases.create_key.execute(NewProjectKey(public_key=key), project, ORIGIN)


async def _change_keys(service: Service, project: Project, keys: list[str]) -> None:
    random = Random(1)  # noqa: S311 -- no secret
    for number in range(1_000_000):
        key = random.choice(keys)
        try:
            if random.random() < 0.2:
                await service.use_cases.change_keys.delete(project, key, ORIGIN)
            else:
                change = ProjectKeyChange(name=f"Name {number}")
                await service.use_cases.change_keys.update(project, key, change, ORIGIN)
        except NotFoundError:
            await _issue(service, project, key)


async def _is_done(replays: Replays, job_id: int) -> bool:
    return (await replays.state(job_id)).finished_at is not None


async def test_ctrl_c_leaves_it_running(
    service: Service, settings: Settings, postgres: Postgres, tmp_path: Path
) -> None:
    """The message says how to list and cancel it; any running publisher continues it."""
    project = await make_project(service)
    await write_keys(postgres, project.id, 3)
    environment = {"DATABASE_URL": settings.database_url}
    async with running("events", "replay", "--all", environment=environment, directory=tmp_path) as process:
        await poll_until(lambda: "No publisher is running" in process.errors)
        await poll_until(lambda: postgres.fetchval("SELECT EXISTS (SELECT FROM batch_job)"))
        process.signal(signal.SIGINT)
        assert await process.wait_for_exit(timeout=10) == 130
        assert "Replay 1 continues: `projectkeys events replay --list`" in process.errors
        assert "Traceback" not in process.errors
    await finish(service, postgres)
    assert await waiting(postgres) == 3


async def test_the_list_shows_unfinished_replays_and_cancel_ends_them(
    service: Service, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events that are published stay published; a second cancel is an error."""
    project = await make_project(service)
    await write_keys(postgres, project.id, 4)
    of = project.organization.slug
    await Replays(service.database).create(ORIGIN, organization=of, project=project.slug, rate=1)
    await service.jobs.step()
    capsys.readouterr()
    assert await run("events", "replay", "--list") == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["ID", "KIND", "SCOPE"]
    assert line.split()[:7] == ["1", "replay", f"{of}/{project.slug}", "1", "of", "4", "(25%)"]
    assert await run("events", "replay", "--list", "--json") == 0
    listed = orjson.loads(capsys.readouterr().out)
    assert (listed["id"], listed["done"], listed["total"], listed["rate"]) == (1, 1, 4, 1)
    assert await run("events", "replay", "--cancel", "1") == 0
    assert not await service.jobs.step()
    assert await waiting(postgres) == 1
    assert await run("events", "replay", "--list") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert await run("events", "replay", "--cancel", "1") == 1
    assert "there is no unfinished replay 1" in capsys.readouterr().err


async def test_the_list_shows_a_job_that_fails(
    service: Service, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """How often, why, and when it will be retried."""
    await make_project(service)
    await Replays(service.database).create(ORIGIN, organization=None, project=None, rate=None)
    await postgres.execute(
        """
        UPDATE batch_job SET failures = 3, last_error = 'RaiseError', starts_at = now() + interval '8 s'
        """
    )
    capsys.readouterr()
    assert await run("events", "replay", "--list") == 0
    assert "failed 3 times (RaiseError), retry in " in capsys.readouterr().out


async def test_only_a_replay_can_be_cancelled(
    service: Service, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other jobs complete a change."""
    project = await make_project(service)
    await write_keys(postgres, project.id, 501)
    await service.use_cases.projects.delete(project, ORIGIN)
    assert await run("events", "replay", "--cancel", "1") == 1
    assert "no unfinished replay 1" in capsys.readouterr().err
    await finish(service, postgres)


async def test_failures_and_a_cancellation_are_reported(
    service: Service, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, since not every key was republished."""
    await make_project(service)
    watching = asyncio.create_task(run("events", "replay", "--all"))
    await poll_until(lambda: postgres.fetchval("SELECT EXISTS (SELECT FROM batch_job)"))
    await postgres.execute("UPDATE batch_job SET failures = 1, last_error = 'RaiseError'")
    output = ""

    def reports_failure() -> bool:
        nonlocal output
        output += capsys.readouterr().err
        return "A batch failed (RaiseError) and will be retried" in output

    await poll_until(reports_failure)
    await Replays(service.database).cancel(1)
    assert await watching == 1
    assert "Replay 1 was cancelled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--project", "unknown/nothing"], 1, "there is no project nothing in unknown"),
        (["--organization", "unknown"], 1, "there is no organization unknown"),
        (["--project", "web"], 2, "such as acme/web"),
        (["--all", "--rate", "0"], 2, "must be a whole number from 1 to"),
        (["--all", "--organization", "acme"], 2, "not allowed with"),
        ([], 2, "required"),
    ],
)
async def test_invalid_arguments_are_explained(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No replay is created."""
    assert await run("events", "replay", *arguments) == code
    assert words in capsys.readouterr().err
