"""The topic beside Postgres, by command: what differs is told, and mended; what does not is left alone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.app import Service, build, kafka_connection, publishing
from service.domain.differences import Difference, Kind
from service.domain.model import NewProjectKey
from service.domain.partitioning import shard_of
from service.kafka.reader import read_topic
from service.settings import Settings
from service.usecases.reconcile.diff_store import open_diff_store
from tests import inconsistencies
from tests.commands import run
from tests.conftest import ORIGIN, make_project
from tests.inconsistencies import ReconcileSetup
from tests.outbox import Postgres

Command = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


def _said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a command said, without the log of the service beside it."""
    return [line for line in capsys.readouterr().out.splitlines() if "\x1b" not in line]


@pytest.fixture(autouse=True)
def here(settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Commands have the test's database and topic."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", ",".join(settings.kafka_bootstrap_servers))
    monkeypatch.setenv("KAFKA_TOPIC", topic)
    monkeypatch.setenv("INGEST_URL", settings.ingest_url)
    return replace(settings, kafka_topic=topic)


@pytest.fixture
async def scene(here: Settings, kafka_bootstrap: str, postgres: Postgres) -> AsyncIterator[ReconcileSetup]:
    """A service that publishes."""
    service = build(here)
    async with publishing(service):
        yield ReconcileSetup(
            service, await make_project(service), postgres, kafka_bootstrap, here.kafka_topic
        )


@pytest.fixture
def reconcile(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command; gives its exit code and what it tells."""

    async def command(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = await run("events", "reconcile", "--json", *arguments)
        [output] = _said(capsys)
        assert "secret" not in output
        return code, orjson.loads(output)

    return command


async def test_what_both_have_is_right(scene: ReconcileSetup, reconcile: Command) -> None:
    """Keys in several versions, deleted ones, and one that has come back."""
    for _ in range(3):
        await scene.issue()
    renamed, gone = await scene.issue(), await scene.issue()
    await scene.rename(renamed)
    await scene.delete(gone)
    await scene.published()
    assert await reconcile() == (0, {"keys": 4, "onTheirWay": 0, "toldAgain": 0, "differences": {}})


async def test_nothing_is_right_with_nothing(reconcile: Command) -> None:
    """An empty topic and no keys."""
    assert await reconcile() == (0, {"keys": 0, "onTheirWay": 0, "toldAgain": 0, "differences": {}})


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
async def test_what_differs_is_told_and_mended(
    scene: ReconcileSetup,
    reconcile: Command,
    create_difference: Callable[[ReconcileSetup, str], Awaitable[None]],
    kind: Kind,
) -> None:
    """Exit code 1; after --repair and publishing 0, and consumers who heard everything have what Postgres has."""
    key, _ = await scene.issue(), await scene.issue()
    await scene.published()
    await create_difference(scene, key)
    code, report = await reconcile()
    assert code == 1
    assert {name: found["count"] for name, found in report["differences"].items()} == {kind: 1}
    [example] = report["differences"][kind]["examples"]
    code, report = await reconcile("--repair")
    assert (code, report["toldAgain"]) == (1, 1)
    await scene.published()
    assert (await reconcile())[0] == 0
    rows = await scene.postgres.fetch("SELECT public_key, label FROM project_key")
    assert await scene.consumed() == {row["public_key"]: row["label"] for row in rows}
    assert len(example["key"]) == 32


async def test_what_was_known_to_nobody_comes_back_in_a_later_version(
    scene: ReconcileSetup, reconcile: Command
) -> None:
    """The repair remembers its deletion: consumers would pass over version 1."""
    key = await scene.issue()
    await scene.published()
    await inconsistencies.key_missing_in_postgres(scene, key)
    await reconcile("--repair")
    again = await scene.service.api.create_key.issue(NewProjectKey(public_key=key), scene.project, ORIGIN)
    assert again.key.version == 3
    await scene.published()
    assert (await reconcile())[0] == 0


async def test_events_on_their_way_are_no_differences(service: Service, reconcile: Command) -> None:
    """They are counted, each key once: the outbox has them, and Kafka will."""
    project = await make_project(service)
    gone, _ = [
        (await service.api.create_key.issue(NewProjectKey(), project, ORIGIN)).key.public_key
        for _ in range(2)
    ]
    await service.api.change_keys.delete(project, gone, ORIGIN)
    assert await reconcile() == (0, {"keys": 1, "onTheirWay": 2, "toldAgain": 0, "differences": {}})


async def test_an_event_that_is_published_after_the_topic_was_read_is_no_difference(
    service: Service, topic: str, postgres: Postgres
) -> None:
    """It waited when Postgres was looked at, and at the second look it waits no more."""
    await service.api.create_key.issue(NewProjectKey(), await make_project(service), ORIGIN)
    with open_diff_store() as ledger:
        await service.reconcile.read_postgres(ledger, lambda *_: None)
        async for records in read_topic(kafka_connection(service.settings), topic, progress=lambda *_: None):
            ledger.add_told(records)
        await postgres.execute("DELETE FROM outbox")
        await service.reconcile.confirm(ledger)
        assert ledger.counts() == {}


async def test_what_changes_after_the_look_at_postgres_is_no_difference(scene: ReconcileSetup) -> None:
    """New keys, newer versions and deletions that the topic tells of and the look did not see."""
    renamed, gone = await scene.issue(), await scene.issue()
    await scene.published()
    connection, topic = kafka_connection(scene.service.settings), scene.topic
    with open_diff_store() as ledger:
        await scene.service.reconcile.read_postgres(ledger, lambda *_: None)
        await scene.issue()
        await scene.rename(renamed)
        await scene.delete(gone)
        await scene.published()
        async for records in read_topic(connection, topic, progress=lambda *_: None):
            ledger.add_told(records)
        assert [one.kind for one in ledger.compare()] == [Kind.PHANTOM] * 3
        await scene.service.reconcile.confirm(ledger)
        assert ledger.counts() == {}


async def test_a_repair_leaves_what_has_changed_since(scene: ReconcileSetup) -> None:
    """Its own event tells of it, and no older state may follow that one."""
    key = await scene.issue()
    await scene.published()
    with open_diff_store() as ledger:
        ledger.add_differences([Difference(Kind.STALE, key, known=1, told=1, newest=1)])
        await scene.rename(key)
        assert await scene.service.repair.run(ledger, ORIGIN, lambda *_: None) == 0
    assert await scene.postgres.fetchval("SELECT version FROM project_key") == 2


async def test_a_parked_key_is_told_and_left_to_its_own_command(
    scene: ReconcileSetup, reconcile: Command
) -> None:
    """Telling again would wait behind what is parked."""
    await _park(scene, await scene.issue())
    for arguments in ((), ("--repair",)):
        code, report = await reconcile(*arguments)
        assert (code, report["toldAgain"]) == (1, 0)
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


async def test_people_read_sentences_with_examples(
    scene: ReconcileSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, with which keys, and what to do; a plain line when all is well."""
    keys = [await scene.issue() for _ in range(7)]
    await scene.published()
    capsys.readouterr()
    assert await run("events", "reconcile") == 0
    assert _said(capsys) == [
        "Keys in Postgres: 7. Keys with events on their way: 0.",
        "The topic tells what Postgres has.",
    ]
    await scene.postgres.execute("UPDATE project_key SET version = 2")
    assert await run("events", "reconcile") == 1
    [_, heading, *examples, advice] = _said(capsys)
    assert heading.startswith("stale: 7 (the topic tells of an older version")
    assert [line.split()[0] for line in examples] == sorted(keys)[:5]
    assert examples[0].endswith("Postgres: version 2; topic: version 1")
    assert advice == "--repair tells again of these keys."


async def test_a_topic_that_cannot_be_read_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where to look is in it."""
    monkeypatch.setenv("KAFKA_TOPIC", "no-such-topic")
    assert await run("events", "reconcile") == 1
    assert "no topic no-such-topic" in capsys.readouterr().err
