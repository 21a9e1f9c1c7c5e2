"""`events reconcile`: the comparison of the topic with Postgres, and the repair of differences."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.app import Service, build, publishing
from service.command_app import build_reconcile
from service.domain.differences import Difference, Kind
from service.domain.events import ADDED_MEMBERS, shard_of
from service.domain.model import NewProjectKey
from service.environment import read
from service.postgres.database import Database
from service.settings import ReconcileSettings, Settings
from service.usecases.reconcile.compare import Reconcile
from service.usecases.reconcile.diff_store import DiffStore
from tests import inconsistencies
from tests.commands import run
from tests.conftest import ORIGIN, make_project
from tests.inconsistencies import ReconcileSetup
from tests.outbox import Postgres

Command = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


def _output(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the output of a command, without the log of the service in the same process."""
    return [line for line in capsys.readouterr().out.splitlines() if "\x1b" not in line]


@pytest.fixture(autouse=True)
def environment(settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the service, which the commands have in their environment."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", ",".join(settings.kafka_bootstrap_servers))
    monkeypatch.setenv("KAFKA_TOPIC", topic)
    monkeypatch.setenv("INGEST_URL", settings.ingest_url)
    return replace(settings, kafka_topic=topic)


@pytest.fixture
async def scene(environment: Settings, kafka_bootstrap: str, postgres: Postgres) -> AsyncIterator[ReconcileSetup]:
    """A service with a running publisher."""
    service = build(environment)
    async with publishing(service):
        yield ReconcileSetup(service, await make_project(service), postgres, kafka_bootstrap, environment.kafka_topic)


@pytest.fixture
def reconcile(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command; it returns its exit code and its JSON output."""

    async def command(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = await run("events", "reconcile", "--json", *arguments)
        [output] = _output(capsys)
        assert "secret" not in output
        return code, orjson.loads(output)

    return command


async def test_equal_states_are_no_differences(scene: ReconcileSetup, reconcile: Command) -> None:
    """Keys in several versions, and deleted keys."""
    for _ in range(3):
        await scene.issue()
    renamed, deleted = await scene.issue(), await scene.issue()
    await scene.rename(renamed)
    await scene.delete(deleted)
    await scene.published()
    assert await reconcile() == (0, {"keys": 4, "inFlight": 0, "republished": 0, "differences": {}})


async def test_keys_of_a_former_release_get_the_added_members_in_a_new_version(
    scene: ReconcileSetup, reconcile: Command
) -> None:
    """Consumers ignore a version that they hold. Such keys alone do not make the exit code 1."""
    key = await scene.issue()
    await scene.published()
    record = await scene.record_of(key)
    former = {name: value for name, value in orjson.loads(record.value).items() if name not in ADDED_MEMBERS}
    await scene.write(key, orjson.dumps(former), **{name: value.decode() for name, value in record.headers})
    code, report = await reconcile()
    assert (code, {kind: found["count"] for kind, found in report["differences"].items()}) == (
        0,
        {Kind.OUTDATED_FORM: 1},
    )
    assert (await reconcile("--repair"))[1]["republished"] == 1
    await scene.published()
    assert (await reconcile())[1]["differences"] == {}
    assert await scene.postgres.fetchval("SELECT version FROM project_key") == 2


async def test_an_empty_topic_and_an_empty_database_are_equal(reconcile: Command) -> None:
    """Nothing is counted."""
    assert await reconcile() == (0, {"keys": 0, "inFlight": 0, "republished": 0, "differences": {}})


@pytest.mark.parametrize(
    ("create_difference", "kind"),
    [
        (inconsistencies.key_without_event, Kind.MISSING),
        (inconsistencies.record_removed, Kind.MISSING),
        (inconsistencies.change_without_event, Kind.STALE),
        (inconsistencies.change_without_version, Kind.STALE),
        (inconsistencies.older_version_last, Kind.STALE),
        (inconsistencies.unreadable_record_last, Kind.STALE),
        (inconsistencies.key_missing_in_postgres, Kind.PHANTOM),
        (inconsistencies.unknown_organization, Kind.PHANTOM),
        (inconsistencies.later_version_in_topic, Kind.PHANTOM),
        (inconsistencies.later_version_not_last, Kind.PHANTOM),
        (inconsistencies.deleted_in_topic_only, Kind.PHANTOM),
        (inconsistencies.deletion_without_event, Kind.WRONGLY_PRESENT),
        (inconsistencies.deletion_before_later_version, Kind.WRONGLY_PRESENT),
    ],
)
async def test_differences_are_reported_and_repaired(
    scene: ReconcileSetup,
    reconcile: Command,
    create_difference: Callable[[ReconcileSetup, str], Awaitable[None]],
    kind: Kind,
) -> None:
    """Exit code 1; after --repair and publishing 0, and consumers have the state of Postgres."""
    key, _ = await scene.issue(), await scene.issue()
    await scene.published()
    await create_difference(scene, key)
    code, report = await reconcile()
    assert code == 1
    assert {name: found["count"] for name, found in report["differences"].items()} == {kind: 1}
    [example] = report["differences"][kind]["examples"]
    code, report = await reconcile("--repair")
    assert (code, report["republished"]) == (1, 1)
    await scene.published()
    assert (await reconcile())[0] == 0
    rows = await scene.postgres.fetch("SELECT public_key, label FROM project_key")
    assert await scene.consumed() == {row["public_key"]: row["label"] for row in rows}
    assert len(example["key"]) == 32


async def test_a_repaired_phantom_is_created_again_in_a_later_version(
    scene: ReconcileSetup, reconcile: Command
) -> None:
    """The repair records its deletion; consumers would ignore version 1."""
    key = await scene.issue()
    await scene.published()
    await inconsistencies.key_missing_in_postgres(scene, key)
    await reconcile("--repair")
    again = await scene.service.use_cases.create_key.execute(NewProjectKey(public_key=key), scene.project, ORIGIN)
    assert again.key.version == 3
    await scene.published()
    assert (await reconcile())[0] == 0


async def test_keys_with_unpublished_events_are_no_differences(service: Service, reconcile: Command) -> None:
    """They are counted, once per key."""
    project = await make_project(service)
    deleted, _ = [
        (await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)).key.public_key
        for _ in range(2)
    ]
    await service.use_cases.change_keys.delete(project, deleted, ORIGIN)
    assert await reconcile() == (0, {"keys": 1, "inFlight": 2, "republished": 0, "differences": {}})


def _reconcile(database: Database) -> Reconcile:
    return build_reconcile(database, read(ReconcileSettings))


def _show_nothing(_done: int, _total: int) -> None:
    pass


async def test_an_event_that_is_published_after_the_topic_was_read_is_no_difference(
    service: Service, postgres: Postgres
) -> None:
    """It was in the outbox when Postgres was read, and is not when the differences are confirmed."""
    await service.use_cases.create_key.execute(NewProjectKey(), await make_project(service), ORIGIN)
    reconcile = _reconcile(service.database)
    with DiffStore.open() as diff_store:
        await reconcile.read_postgres(diff_store, _show_nothing)
        await reconcile.read_topic(diff_store, _show_nothing)
        await postgres.execute("DELETE FROM outbox")
        await reconcile.confirm(diff_store)
        assert diff_store.count_differences() == {}


async def test_changes_after_postgres_was_read_are_no_differences(scene: ReconcileSetup) -> None:
    """New keys, newer versions and deletions that are in the topic and not in the snapshot."""
    renamed, deleted = await scene.issue(), await scene.issue()
    await scene.published()
    reconcile = _reconcile(scene.service.database)
    with DiffStore.open() as diff_store:
        await reconcile.read_postgres(diff_store, _show_nothing)
        await scene.issue()
        await scene.rename(renamed)
        await scene.delete(deleted)
        await scene.published()
        await reconcile.read_topic(diff_store, _show_nothing)
        assert [one.kind for one in diff_store.find_differences()] == [Kind.PHANTOM] * 3
        await reconcile.confirm(diff_store)
        assert diff_store.count_differences() == {}


async def test_a_repair_skips_keys_that_have_changed_since(scene: ReconcileSetup) -> None:
    """Their own event is published, and no older state can follow it."""
    key = await scene.issue()
    await scene.published()
    difference = Difference(Kind.STALE, key, version_in_postgres=1, version_in_topic=1, newest_version=1)
    with DiffStore.open() as diff_store:
        diff_store.add_differences([difference])
        await scene.rename(key)
        reconcile = _reconcile(scene.service.database)
        assert await reconcile.repair(diff_store, ORIGIN, lambda _: nullcontext(_show_nothing)) == 0
    assert await scene.postgres.fetchval("SELECT version FROM project_key") == 2


async def test_a_parked_key_is_reported_and_not_repaired(scene: ReconcileSetup, reconcile: Command) -> None:
    """The parked event would block its events."""
    await _park(scene, await scene.issue())
    for arguments in ((), ("--repair",)):
        code, report = await reconcile(*arguments)
        assert (code, report["republished"]) == (1, 0)
        assert {name: found["count"] for name, found in report["differences"].items()} == {Kind.PARKED: 1}


async def _park(scene: ReconcileSetup, key: str) -> None:
    await scene.published()
    await scene.postgres.execute(
        """
        INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, parked_at, last_error)
        VALUES (gen_random_uuid(), $1, 'projectkey.updated', 2, $2, '{}', '{}', now(), 'too large')
        """,
        key,
        shard_of(key),
    )


async def test_the_readable_output_has_examples_and_a_hint(
    scene: ReconcileSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most five keys of each kind; without differences, one sentence."""
    keys = [await scene.issue() for _ in range(7)]
    await scene.published()
    capsys.readouterr()
    assert await run("events", "reconcile") == 0
    assert _output(capsys) == [
        "Keys in Postgres: 7. Keys with unpublished events: 0.",
        "The topic matches Postgres.",
    ]
    await scene.postgres.execute("UPDATE project_key SET version = 2")
    assert await run("events", "reconcile") == 1
    [_, heading, *examples, advice] = _output(capsys)
    assert heading.startswith("stale: 7 (the topic has an older version")
    assert [line.split()[0] for line in examples] == sorted(keys)[:5]
    assert examples[0].endswith("Postgres: version 2; topic: version 1")
    assert advice == "--repair republishes these keys."


async def test_a_topic_that_cannot_be_read_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the topic."""
    monkeypatch.setenv("KAFKA_TOPIC", "no-such-topic")
    assert await run("events", "reconcile") == 1
    assert "the topic no-such-topic cannot be read" in capsys.readouterr().err
