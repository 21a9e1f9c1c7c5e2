"""Reads what the checker needs: every key in Postgres, every record of the topic. Imports nothing of the service."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

_READ_TIMEOUT: Final = 60.0
"""Seconds to read the whole topic."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key that is not deleted."""

    organization_id: int
    project_id: int
    label: str
    version: int
    secret: str


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change of a key, from its audit entry."""

    action: str
    key: str


@dataclass(frozen=True, slots=True)
class PostgresState:
    """The contents of Postgres.

    Attributes:
        keys: Keys that are not deleted, by public key.
        deleted: The last version of each deleted key.
        changes: Every committed change of a key, by event id.
        outbox_rows: The number of rows in the outbox.
        idempotency_keys: The number of rows of each idempotency key.
        texts: Texts that must not contain a secret.
    """

    keys: Mapping[str, KeyRow] = field(default_factory=dict)
    deleted: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)
    outbox_rows: int = 0
    idempotency_keys: Mapping[str, int] = field(default_factory=dict)
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record of the topic."""

    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: Mapping[str, str]

    @property
    def is_event(self) -> bool:
        """Whether this is an event and not one of the service's control records."""
        return self.headers.get("ce_type", "").startswith("projectkey.")


_KEYS: Final = """
    SELECT public_key, organization_id, project_id, label, version, secret_key
    FROM project_key
    JOIN project ON project.id = project_id
"""
# An update without a difference has an audit entry with an empty difference, and no event.
_CHANGES: Final = """
    SELECT change_id::text, action, target FROM audit_entry
    WHERE action IN ('projectkey.create', 'projectkey.edit', 'projectkey.remove')
      AND NOT (action = 'projectkey.edit' AND data::text = '{}')
"""
_TEXTS: Final = """
    SELECT data::text FROM audit_entry
    UNION ALL SELECT payload::text || headers::text || coalesce(last_error, '') FROM outbox
"""


async def read_postgres(url: str) -> PostgresState:
    """Read everything about keys in one snapshot."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            keys = await connection.fetch(_KEYS)
            deleted = await connection.fetch("SELECT public_key, version FROM deleted_key")
            changes = await connection.fetch(_CHANGES)
            idempotency = await connection.fetch("SELECT key, count(*) FROM idempotency GROUP BY key")
            outbox_rows = await connection.fetchval("SELECT count(*) FROM outbox")
            texts = await connection.fetch(_TEXTS)
    finally:
        await connection.close()
    return PostgresState(
        keys={public_key: KeyRow(*rest) for public_key, *rest in keys},
        deleted={public_key: version for public_key, version in deleted},  # noqa: C416 -- records are no pairs to mypy
        changes={change_id: Change(action, target) for change_id, action, target in changes},
        outbox_rows=outbox_rows,
        idempotency_keys={key: number for key, number in idempotency},  # noqa: C416 -- as above
        texts=[text for (text,) in texts],
    )


async def read_topic(bootstrap: str, topic: str) -> list[TopicRecord]:
    """Read every record of the topic from offset 0, ordered by partition and offset.

    Raises:
        TimeoutError: The topic could not be read in time.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, metadata_max_age_ms=1000)
    async with asyncio.timeout(_READ_TIMEOUT):
        await consumer.start()
        try:
            while not (numbers := consumer.partitions_for_topic(topic)):
                await consumer.topics()
            partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            result: list[TopicRecord] = []
            while [part for part in partitions if await consumer.position(part) < ends[part]]:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    result.extend(_topic_record(record) for record in records)
        finally:
            await consumer.stop()
    return sorted(result, key=lambda record: (record.partition, record.offset))


def _topic_record(record: ConsumerRecord) -> TopicRecord:
    headers = {name: value.decode() for name, value in record.headers}
    return TopicRecord(record.partition, record.offset, record.key.decode(), record.value, headers)
