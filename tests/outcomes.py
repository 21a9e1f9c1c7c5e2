"""Outcomes as relays report them, their topic, and a reader that counts them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry
from sentry_kafka_schemas import get_codec

from service.app import Service
from service.domain.model import Project, ProjectKey
from service.kafka_connection import kafka_connection
from service.metrics import UsageMetrics
from service.settings import Settings
from service.usage.collector import UsageCollector
from testkit.polling import poll_until
from tests.outbox import Postgres

SCHEMA = get_codec("outcomes")
"""Decodes and validates by Sentry's own schema."""

LEASE = 30.0  # seconds

TIME = datetime(2026, 11, 24, 4, 54, 16, tzinfo=UTC)


def outcome(key_id: int | None, **changes: Any) -> bytes:
    """Return an accepted error of a key, with other members if given; it matches Sentry's schema."""
    members = {
        "timestamp": TIME.isoformat().replace("+00:00", "Z"),
        "org_id": 1,
        "project_id": 1,
        "key_id": key_id,
        "outcome": 0,
        "reason": None,
        "event_id": None,
        "category": 1,
        "quantity": 1,
    }
    value = orjson.dumps(members | changes)
    SCHEMA.decode(value)
    return value


async def send_outcomes(bootstrap: str, topic: str, values: Sequence[bytes | None], **options: Any) -> None:
    """Append records without keys; ``options`` are those of the producer."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", **options)
    await producer.start()
    try:
        # The client refuses a record that has neither key nor value.
        for sent in [await producer.send(topic, value, key=b"" if value is None else None) for value in values]:
            await sent
    finally:
        await producer.stop()


@dataclass(frozen=True)
class UsageSite:
    """A service that counts outcomes of a topic with one partition, and a key of it."""

    settings: Settings
    service: Service
    postgres: Postgres
    project: Project
    key: ProjectKey

    @property
    def key_id(self) -> int:
        """The row id of the key."""
        assert self.key.id is not None
        return self.key.id

    def collector(self, owner: str = "first", *, lease: float = LEASE) -> tuple[UsageCollector, UsageMetrics]:
        """Return a reader, as of a process of its own, and its metrics."""
        metrics = UsageMetrics(CollectorRegistry())
        collector = UsageCollector(
            database=self.service.database,
            connection=kafka_connection(self.settings),
            topic=self.settings.outcomes_topic,
            owner=owner,
            lease=timedelta(seconds=lease),
            retention=timedelta(days=90),
            metrics=metrics,
        )
        return collector, metrics

    async def send(self, *values: bytes | None, **options: Any) -> None:
        """Append records to the topic."""
        bootstrap = self.settings.kafka_bootstrap_servers[0]
        await send_outcomes(bootstrap, self.settings.outcomes_topic, values, **options)

    async def counted(self, key_id: int | None = None) -> int:
        """Return the quantity that is stored for the key."""
        return int(
            await self.postgres.fetchval(
                "SELECT coalesce(sum(quantity), 0) FROM key_usage WHERE key_id = $1",
                self.key_id if key_id is None else key_id,
            )
        )

    async def wait_for(self, quantity: int, key_id: int | None = None) -> None:
        """Wait until this quantity is stored for the key, and no greater one."""

        async def reached() -> bool:
            return await self.counted(key_id) >= quantity

        await poll_until(reached)
        assert await self.counted(key_id) == quantity


@asynccontextmanager
async def reading(collector: UsageCollector) -> AsyncIterator[None]:
    """Run a reader until the end of the block."""
    task = asyncio.create_task(collector.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
