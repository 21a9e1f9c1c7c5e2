"""A topic and a Postgres that are to be compared, and all the ways in which they can be made to differ."""

from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaProducer, ConsumerRecord

from service.app import Service
from service.domain.events import EventType
from service.domain.model import NewProjectKey, Project, ProjectKeyChange
from service.domain.partitioning import shard_of
from testkit.polling import poll_until
from tests.conftest import ORIGIN
from tests.events import header, reading
from tests.outbox import Postgres, waiting


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
        made = await self.service.api.create_key.issue(NewProjectKey(), self.project, ORIGIN)
        return made.key.public_key

    async def rename(self, key: str) -> None:
        """Another version, in both."""
        await self.service.api.change_keys.update(self.project, key, ProjectKeyChange(name="Newer"), ORIGIN)

    async def delete(self, key: str) -> None:
        """Delete a key, in both."""
        await self.service.api.change_keys.delete(self.project, key, ORIGIN)

    async def published(self) -> None:
        """Wait until Kafka has everything."""
        await poll_until(self._is_empty)

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


async def never_told(scene: Scene, key: str) -> None:
    """A key that no event was ever written of."""
    other = "e" * 32
    await scene.postgres.execute(
        """
        INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options)
        SELECT project_id, 'Never told', $2, $2, loader_options FROM project_key WHERE public_key = $1
        """,
        key,
        other,
    )


async def compacted_away(scene: Scene, key: str) -> None:
    """Somebody has deleted the key's record."""
    await scene.write(key, None)


async def not_told_of_its_change(scene: Scene, key: str) -> None:
    """A version without an event."""
    await scene.postgres.execute(
        "UPDATE project_key SET label = 'Changed', version = 2 WHERE public_key = $1", key
    )


async def changed_without_a_version(scene: Scene, key: str) -> None:
    """Another state in the same version."""
    await scene.postgres.execute("UPDATE project_key SET label = 'Changed' WHERE public_key = $1", key)


async def an_older_version_is_the_last(scene: Scene, key: str) -> None:
    """What compaction would keep is not the newest."""
    first = await scene.record_of(key)
    await scene.rename(key)
    await scene.published()
    await scene.write(key, first.value, **{name: value.decode() for name, value in first.headers})


async def hidden_by_what_nobody_can_read(scene: Scene, key: str) -> None:
    """The last record is no event."""
    await scene.write(key, b"not JSON", ce_type="projectkey.updated")


async def unknown(scene: Scene, key: str) -> None:
    """Postgres has lost the key."""
    await scene.postgres.execute("DELETE FROM project_key WHERE public_key = $1", key)


async def of_an_unknown_organization(scene: Scene, key: str) -> None:
    """Postgres has never had the key, nor its organization."""
    last = await scene.record_of(key)
    other = "d" * 32
    state = orjson.loads(last.value) | {"id": other, "organizationId": 4711}
    headers = {name: value.decode() for name, value in last.headers}
    await scene.write(other, orjson.dumps(state), **headers)


async def of_a_later_version(scene: Scene, key: str) -> None:
    """Postgres has lost a version."""
    await scene.rename(key)
    await scene.published()
    await scene.postgres.execute(
        "UPDATE project_key SET version = 1, label = 'Restored' WHERE public_key = $1", key
    )


async def of_a_later_version_than_the_last(scene: Scene, key: str) -> None:
    """As well, and the topic's last record is older still."""
    first = await scene.record_of(key)
    await of_a_later_version(scene, key)
    await scene.write(key, first.value, **{name: value.decode() for name, value in first.headers})


async def deleted_in_the_topic_alone(scene: Scene, key: str) -> None:
    """Postgres has lost the deletion."""
    await scene.write(key, None, ce_type="projectkey.deleted", ce_keyversion="2")


async def deletion_not_told(scene: Scene, key: str) -> None:
    """A deletion without an event."""
    await scene.postgres.execute(
        """
        WITH gone AS (DELETE FROM project_key WHERE public_key = $1 RETURNING public_key, project_id)
        INSERT INTO deleted_key (public_key, organization_id, project_id, version)
        SELECT public_key, $2, project_id, 2 FROM gone
        """,
        key,
        scene.project.organization.id,
    )


async def deletion_before_what_the_topic_tells(scene: Scene, key: str) -> None:
    """As well, and the topic tells of a version after it."""
    for _ in range(2):
        await scene.rename(key)
        await scene.postgres.execute("UPDATE project_key SET label = 'Other' WHERE public_key = $1", key)
    await scene.published()
    await deletion_not_told(scene, key)
