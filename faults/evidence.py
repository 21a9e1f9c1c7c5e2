"""What there is in the end: every key in Postgres, every record in Kafka. Knows nothing of the service's code."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

_READ_WITHIN: Final = 60.0
"""Seconds for the whole log."""


@dataclass(frozen=True, slots=True)
class Row:
    """A living key."""

    organization_id: int
    project_id: int
    label: str
    version: int
    secret: str


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change of a key, as the audit has it."""

    action: str
    key: str


@dataclass(frozen=True, slots=True)
class DiffStore:
    """What Postgres holds.

    Attributes:
        keys: Living keys by their public half.
        gone: The last version of each deleted key.
        changes: Every committed change of a key, by its event's id.
        waiting: Rows that are still in the outbox.
        once: How many keys each idempotency key made, as the table of them has it.
        texts: What must not hold a secret.
    """

    keys: Mapping[str, Row] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)
    waiting: int = 0
    once: Mapping[str, int] = field(default_factory=dict)
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Logged:
    """A record of the topic."""

    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: Mapping[str, str]

    @property
    def is_event(self) -> bool:
        """Not one of the service's own marks."""
        return self.headers.get("ce_type", "").startswith("projectkey.")


_KEYS: Final = """
    SELECT public_key, organization_id, project_id, label, version, secret_key
    FROM project_key
    JOIN project ON project.id = project_id
"""
# A change that changed nothing is audited, with an empty difference, and has no event.
_CHANGES: Final = """
    SELECT change_id::text, action, target FROM audit_entry
    WHERE action IN ('projectkey.create', 'projectkey.edit', 'projectkey.remove')
      AND NOT (action = 'projectkey.edit' AND data::text = '{}')
"""
_TEXTS: Final = """
    SELECT data::text FROM audit_entry
    UNION ALL SELECT payload::text || headers::text || coalesce(last_error, '') FROM outbox
"""


async def read_ledger(url: str) -> DiffStore:
    """Everything that Postgres holds of keys, in one snapshot."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            keys = await connection.fetch(_KEYS)
            gone = await connection.fetch("SELECT public_key, version FROM deleted_key")
            changes = await connection.fetch(_CHANGES)
            once = await connection.fetch("SELECT key, count(*) FROM idempotency GROUP BY key")
            waiting = await connection.fetchval("SELECT count(*) FROM outbox")
            texts = await connection.fetch(_TEXTS)
    finally:
        await connection.close()
    return DiffStore(
        keys={public_key: Row(*rest) for public_key, *rest in keys},
        gone={public_key: version for public_key, version in gone},  # noqa: C416 -- records are no pairs to mypy
        changes={change_id: Change(action, target) for change_id, action, target in changes},
        waiting=waiting,
        once={key: number for key, number in once},  # noqa: C416 -- as above
        texts=[text for (text,) in texts],
    )


async def read_log(bootstrap: str, topic: str) -> list[Logged]:
    """Every record of the topic from offset 0, a partition after the other.

    Raises:
        TimeoutError: it could not be read in time.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, metadata_max_age_ms=1000
    )
    async with asyncio.timeout(_READ_WITHIN):
        await consumer.start()
        try:
            while not (numbers := consumer.partitions_for_topic(topic)):
                await consumer.topics()
            where = [TopicPartition(topic, number) for number in sorted(numbers)]
            consumer.assign(where)
            await consumer.seek_to_beginning(*where)
            ends = await consumer.end_offsets(where)
            found: list[Logged] = []
            while [one for one in where if await consumer.position(one) < ends[one]]:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(_logged(record) for record in records)
        finally:
            await consumer.stop()
    return sorted(found, key=lambda one: (one.partition, one.offset))


def _logged(record: ConsumerRecord) -> Logged:
    headers = {name: value.decode() for name, value in record.headers}
    return Logged(record.partition, record.offset, record.key.decode(), record.value, headers)
