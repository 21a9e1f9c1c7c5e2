"""A topic and a database to compare, and functions that make them differ, one for each kind of difference."""

from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaProducer, ConsumerRecord

from service.app import Service
from service.domain.events import EventType, shard_of
from service.domain.model import NewProjectKey, Project, ProjectKeyChange
from testkit.polling import poll_until
from tests.conftest import ORIGIN
from tests.events import header, reading
from tests.outbox import Postgres, waiting


@dataclass(frozen=True, slots=True)
class ReconcileSetup:
    """A service, a project, and the two data stores to compare."""

    service: Service
    project: Project
    postgres: Postgres
    bootstrap: str
    topic: str

    async def issue(self) -> str:
        """Create a key in both and return it."""
        created = await self.service.use_cases.create_key.execute(NewProjectKey(), self.project, ORIGIN)
        return created.key.public_key

    async def rename(self, key: str) -> None:
        """Write a new version of a key to both."""
        await self.service.use_cases.change_keys.update(self.project, key, ProjectKeyChange(name="Newer"), ORIGIN)

    async def delete(self, key: str) -> None:
        """Delete a key in both."""
        await self.service.use_cases.change_keys.delete(self.project, key, ORIGIN)

    async def published(self) -> None:
        """Wait until all events are published."""
        await poll_until(self._is_empty)

    async def _is_empty(self) -> bool:
        return await waiting(self.postgres) == 0

    async def write(self, key: str, value: bytes | None, **headers: str) -> None:
        """Write a record to the topic, without the service."""
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
        """Return the first record of a key."""
        async with reading(self.bootstrap, self.topic) as reader:
            seen = await reader.until(lambda seen: any(record.key.decode() == key for record in seen))
        return next(record for record in seen if record.key.decode() == key)

    async def consumed(self) -> dict[str, str]:
        """Return the names by key, as a consumer has them that applies newer versions only."""
        latest: dict[str, tuple[int, str | None]] = {}
        async with reading(self.bootstrap, self.topic) as reader:
            count = int(await self.postgres.fetchval("SELECT count(*) FROM project_key"))
            for record in await reader.until(lambda seen: len({record.key for record in seen}) >= count):
                key, version = record.key.decode(), int(header(record, "ce_keyversion") or 0)
                if version > latest.get(key, (0, None))[0]:
                    deleted = record.value is None or header(record, "ce_type") == EventType.DELETED
                    latest[key] = (version, None if deleted else orjson.loads(record.value)["name"])
        return {key: name for key, (_, name) in latest.items() if name is not None}


async def key_without_event(setup: ReconcileSetup, key: str) -> None:
    """A key without an event."""
    other = "e" * 32
    await setup.postgres.execute(
        """
        INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options)
        SELECT project_id, 'Without event', $2, $2, loader_options FROM project_key WHERE public_key = $1
        """,
        key,
        other,
    )


async def record_removed(setup: ReconcileSetup, key: str) -> None:
    """A tombstone that the service did not write removes the key's record."""
    await setup.write(key, None)


async def change_without_event(setup: ReconcileSetup, key: str) -> None:
    """A new version without an event."""
    await setup.postgres.execute("UPDATE project_key SET label = 'Changed', version = 2 WHERE public_key = $1", key)


async def change_without_version(setup: ReconcileSetup, key: str) -> None:
    """Another state in the same version."""
    await setup.postgres.execute("UPDATE project_key SET label = 'Changed' WHERE public_key = $1", key)


async def older_version_last(setup: ReconcileSetup, key: str) -> None:
    """The last record, which compaction keeps, has an older version."""
    first = await setup.record_of(key)
    await setup.rename(key)
    await setup.published()
    await setup.write(key, first.value, **{name: value.decode() for name, value in first.headers})


async def unreadable_record_last(setup: ReconcileSetup, key: str) -> None:
    """The last record is not an event."""
    await setup.write(key, b"not JSON", ce_type="projectkey.updated")


async def key_missing_in_postgres(setup: ReconcileSetup, key: str) -> None:
    """Postgres does not have the key."""
    await setup.postgres.execute("DELETE FROM project_key WHERE public_key = $1", key)


async def unknown_organization(setup: ReconcileSetup, key: str) -> None:
    """Postgres has neither the key nor its organization."""
    last = await setup.record_of(key)
    other = "d" * 32
    state = orjson.loads(last.value) | {"id": other, "organizationId": 4711}
    headers = {name: value.decode() for name, value in last.headers}
    await setup.write(other, orjson.dumps(state), **headers)


async def later_version_in_topic(setup: ReconcileSetup, key: str) -> None:
    """The topic has a later version than Postgres."""
    await setup.rename(key)
    await setup.published()
    await setup.postgres.execute("UPDATE project_key SET version = 1, label = 'Restored' WHERE public_key = $1", key)


async def later_version_not_last(setup: ReconcileSetup, key: str) -> None:
    """The topic has a later version than Postgres, and its last record has an older one."""
    first = await setup.record_of(key)
    await later_version_in_topic(setup, key)
    await setup.write(key, first.value, **{name: value.decode() for name, value in first.headers})


async def deleted_in_topic_only(setup: ReconcileSetup, key: str) -> None:
    """The topic has a deletion that Postgres does not have."""
    await setup.write(key, None, ce_type="projectkey.deleted", ce_keyversion="2")


async def deletion_without_event(setup: ReconcileSetup, key: str) -> None:
    """A deletion without an event."""
    await setup.postgres.execute(
        """
        WITH deleted AS (DELETE FROM project_key WHERE public_key = $1 RETURNING public_key, project_id)
        INSERT INTO deleted_key (public_key, organization_id, project_id, version)
        SELECT public_key, $2, project_id, 2 FROM deleted
        """,
        key,
        setup.project.organization.id,
    )


async def deletion_before_later_version(setup: ReconcileSetup, key: str) -> None:
    """A deletion without an event, with a lower version than the topic's last record."""
    for _ in range(2):
        await setup.rename(key)
        await setup.postgres.execute("UPDATE project_key SET label = 'Other' WHERE public_key = $1", key)
    await setup.published()
    await deletion_without_event(setup, key)
