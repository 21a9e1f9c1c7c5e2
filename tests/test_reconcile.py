"""The topic beside Postgres, by command: what differs is told, and mended; what does not is left alone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from service.app import Service, build, kafka_connection, publishing
from service.domain.events import EventType
from service.domain.model import NewProjectKey, Project, ProjectKeyChange
from service.domain.partition import shard_of
from service.domain.reconcile import Difference, Kind
from service.kafka.history import history
from service.settings import Settings
from service.usecases.ledger import open_ledger
from tests.commands import run
from tests.conftest import ORIGIN, make_project
from tests.events import header, reading, until
from tests.outbox import Postgres, waiting

Command = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A service, its project, and the two sides to be compared."""

    service: Service
    project: Project
    postgres: Postgres
    bootstrap: str
    topic: str

    async def issue(self) -> str:
        """A new key, in both."""
        made = await self.service.api.issue_keys.issue(NewProjectKey(), self.project, ORIGIN)
        return made.key.public_key

    async def rename(self, key: str) -> None:
        """Another version, in both."""
        await self.service.api.change_keys.update(self.project, key, ProjectKeyChange(name="Newer"), ORIGIN)

    async def delete(self, key: str) -> None:
        """Delete a key, in both."""
        await self.service.api.change_keys.delete(self.project, key, ORIGIN)

    async def published(self) -> None:
        """Wait until Kafka has everything."""
        await until(self._is_empty)

    async def _is_empty(self) -> bool:
        return await waiting(self.postgres) == 0

    async def write(self, key: str, value: bytes | None, **headers: str) -> None:
        """Write a record behind the service's back."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            await producer.send_and_wait(
                self.topic,
                key=key.encode(),
                value=value,
                partition=shard_of(key),
                headers=[(name, text.encode()) for name, text in headers.items()],
            )
        finally:
            await producer.stop()

    async def record_of(self, key: str) -> ConsumerRecord:
        """The first record of a key."""
        async with reading(self.bootstrap, self.topic) as reader:
            seen = await reader.until(lambda seen: any(one.key.decode() == key for one in seen))
        return next(one for one in seen if one.key.decode() == key)

    async def consumed(self) -> dict[str, str]:
        """Names by key, as a consumer has them that takes newer versions alone."""
        held: dict[str, tuple[int, str | None]] = {}
        async with reading(self.bootstrap, self.topic) as reader:
            count = int(await self.postgres.fetchval("SELECT count(*) FROM project_key"))
            for one in await reader.until(lambda seen: len({record.key for record in seen}) >= count):
                key, version = one.key.decode(), int(header(one, "ce_keyversion") or 0)
                if version > held.get(key, (0, None))[0]:
                    gone = one.value is None or header(one, "ce_type") == EventType.DELETED
                    held[key] = (version, None if gone else orjson.loads(one.value)["name"])
        return {key: name for key, (_, name) in held.items() if name is not None}


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
async def scene(here: Settings, kafka_bootstrap: str, postgres: Postgres) -> AsyncIterator[Scene]:
    """A service that publishes."""
    service = build(here)
    async with publishing(service):
        yield Scene(service, await make_project(service), postgres, kafka_bootstrap, here.kafka_topic)


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


async def test_what_both_have_is_right(scene: Scene, reconcile: Command) -> None:
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


async def _never_told(scene: Scene, key: str) -> None:
    other = "e" * 32
    await scene.postgres.execute(
        """
        INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options)
        SELECT project_id, 'Never told', $2, $2, loader_options FROM project_key WHERE public_key = $1
        """,
        key,
        other,
    )


async def _compacted_away(scene: Scene, key: str) -> None:
    await scene.write(key, None)


async def _not_told_of_its_change(scene: Scene, key: str) -> None:
    await scene.postgres.execute(
        "UPDATE project_key SET label = 'Changed', version = 2 WHERE public_key = $1", key
    )


async def _changed_without_a_version(scene: Scene, key: str) -> None:
    await scene.postgres.execute("UPDATE project_key SET label = 'Changed' WHERE public_key = $1", key)


async def _an_older_version_is_the_last(scene: Scene, key: str) -> None:
    first = await scene.record_of(key)
    await scene.rename(key)
    await scene.published()
    await scene.write(key, first.value, **{name: value.decode() for name, value in first.headers})


async def _hidden_by_what_nobody_can_read(scene: Scene, key: str) -> None:
    await scene.write(key, b"not JSON", ce_type="projectkey.updated")


async def _unknown(scene: Scene, key: str) -> None:
    await scene.postgres.execute("DELETE FROM project_key WHERE public_key = $1", key)


async def _of_an_unknown_organization(scene: Scene, key: str) -> None:
    last = await scene.record_of(key)
    other = "d" * 32
    state = orjson.loads(last.value) | {"id": other, "organizationId": 4711}
    headers = {name: value.decode() for name, value in last.headers}
    await scene.write(other, orjson.dumps(state), **headers)


async def _of_a_later_version(scene: Scene, key: str) -> None:
    await scene.rename(key)
    await scene.published()
    await scene.postgres.execute(
        "UPDATE project_key SET version = 1, label = 'Restored' WHERE public_key = $1", key
    )


async def _of_a_later_version_than_the_last(scene: Scene, key: str) -> None:
    first = await scene.record_of(key)
    await _of_a_later_version(scene, key)
    await scene.write(key, first.value, **{name: value.decode() for name, value in first.headers})


async def _deleted_in_the_topic_alone(scene: Scene, key: str) -> None:
    await scene.write(key, None, ce_type="projectkey.deleted", ce_keyversion="2")


async def _deletion_not_told(scene: Scene, key: str) -> None:
    await scene.postgres.execute(
        """
        WITH gone AS (DELETE FROM project_key WHERE public_key = $1 RETURNING public_key, project_id)
        INSERT INTO deleted_key (public_key, organization_id, project_id, version)
        SELECT public_key, $2, project_id, 2 FROM gone
        """,
        key,
        scene.project.organization.id,
    )


async def _deletion_before_what_the_topic_tells(scene: Scene, key: str) -> None:
    for _ in range(2):
        await scene.rename(key)
        await scene.postgres.execute("UPDATE project_key SET label = 'Other' WHERE public_key = $1", key)
    await scene.published()
    await _deletion_not_told(scene, key)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_never_told, Kind.MISSING),
        (_compacted_away, Kind.MISSING),
        (_not_told_of_its_change, Kind.STALE),
        (_changed_without_a_version, Kind.STALE),
        (_an_older_version_is_the_last, Kind.STALE),
        (_hidden_by_what_nobody_can_read, Kind.STALE),
        (_unknown, Kind.PHANTOM),
        (_of_an_unknown_organization, Kind.PHANTOM),
        (_of_a_later_version, Kind.PHANTOM),
        (_of_a_later_version_than_the_last, Kind.PHANTOM),
        (_deleted_in_the_topic_alone, Kind.PHANTOM),
        (_deletion_not_told, Kind.WRONGLY_PRESENT),
        (_deletion_before_what_the_topic_tells, Kind.WRONGLY_PRESENT),
    ],
)
async def test_what_differs_is_told_and_mended(
    scene: Scene, reconcile: Command, spoil: Callable[[Scene, str], Awaitable[None]], kind: Kind
) -> None:
    """Exit code 1; after --repair and publishing 0, and consumers who heard everything have what Postgres has."""
    key, _ = await scene.issue(), await scene.issue()
    await scene.published()
    await spoil(scene, key)
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
    scene: Scene, reconcile: Command
) -> None:
    """The repair remembers its deletion: consumers would pass over version 1."""
    key = await scene.issue()
    await scene.published()
    await _unknown(scene, key)
    await reconcile("--repair")
    again = await scene.service.api.issue_keys.issue(NewProjectKey(public_key=key), scene.project, ORIGIN)
    assert again.key.version == 3
    await scene.published()
    assert (await reconcile())[0] == 0


async def test_events_on_their_way_are_no_differences(service: Service, reconcile: Command) -> None:
    """They are counted, each key once: the outbox has them, and Kafka will."""
    project = await make_project(service)
    gone, _ = [
        (await service.api.issue_keys.issue(NewProjectKey(), project, ORIGIN)).key.public_key
        for _ in range(2)
    ]
    await service.api.change_keys.delete(project, gone, ORIGIN)
    assert await reconcile() == (0, {"keys": 1, "onTheirWay": 2, "toldAgain": 0, "differences": {}})


async def test_an_event_that_is_published_after_the_topic_was_read_is_no_difference(
    service: Service, topic: str, postgres: Postgres
) -> None:
    """It waited when Postgres was looked at, and at the second look it waits no more."""
    await service.api.issue_keys.issue(NewProjectKey(), await make_project(service), ORIGIN)
    with open_ledger() as ledger:
        await service.reconcile.read_postgres(ledger, lambda *_: None)
        async for records in history(kafka_connection(service.settings), topic, progress=lambda *_: None):
            ledger.add_told(records)
        await postgres.execute("DELETE FROM outbox")
        await service.reconcile.confirm(ledger)
        assert ledger.counts() == {}


async def test_what_changes_after_the_look_at_postgres_is_no_difference(scene: Scene) -> None:
    """New keys, newer versions and deletions that the topic tells of and the look did not see."""
    renamed, gone = await scene.issue(), await scene.issue()
    await scene.published()
    connection, topic = kafka_connection(scene.service.settings), scene.topic
    with open_ledger() as ledger:
        await scene.service.reconcile.read_postgres(ledger, lambda *_: None)
        await scene.issue()
        await scene.rename(renamed)
        await scene.delete(gone)
        await scene.published()
        async for records in history(connection, topic, progress=lambda *_: None):
            ledger.add_told(records)
        assert [one.kind for one in ledger.compare()] == [Kind.PHANTOM] * 3
        await scene.service.reconcile.confirm(ledger)
        assert ledger.counts() == {}


async def test_a_repair_leaves_what_has_changed_since(scene: Scene) -> None:
    """Its own event tells of it, and no older state may follow that one."""
    key = await scene.issue()
    await scene.published()
    with open_ledger() as ledger:
        ledger.add_differences([Difference(Kind.STALE, key, known=1, told=1, newest=1)])
        await scene.rename(key)
        assert await scene.service.repair.run(ledger, ORIGIN, lambda *_: None) == 0
    assert await scene.postgres.fetchval("SELECT version FROM project_key") == 2


async def test_a_parked_key_is_told_and_left_to_its_own_command(scene: Scene, reconcile: Command) -> None:
    """Telling again would wait behind what is parked."""
    await _park(scene, await scene.issue())
    for arguments in ((), ("--repair",)):
        code, report = await reconcile(*arguments)
        assert (code, report["toldAgain"]) == (1, 0)
        assert {name: found["count"] for name, found in report["differences"].items()} == {Kind.PARKED: 1}


async def _park(scene: Scene, key: str) -> None:
    await scene.published()
    await scene.postgres.execute(
        """
        INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, parked_at, last_error)
        VALUES (gen_random_uuid(), $1, 'projectkey.updated', 2, $2, '{}', '{}', now(), 'too large')
        """,
        key,
        shard_of(key),
    )


async def test_people_read_sentences_with_examples(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
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
