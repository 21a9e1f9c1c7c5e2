"""Runs a publisher for one test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter

from service.app import open_database
from service.concurrency.supervisor import supervised
from service.domain.events import SHARDS
from service.metrics import PublisherMetrics
from service.postgres.outbox import PostgresOutbox
from service.postgres.shards import PostgresShardOwnership
from service.publisher.protocols import Producer
from service.publisher.publisher import Publisher, publisher_name
from service.settings import Settings
from testkit.polling import poll_until


@asynccontextmanager
async def publishing_to(producer: Producer, settings: Settings) -> AsyncIterator[Publisher]:
    """Run a supervised publisher during the block; the block starts when all shards are owned and open."""
    database = open_database(settings)
    await database.start()
    registry = CollectorRegistry()
    publisher = Publisher(
        PostgresOutbox(database),
        PostgresShardOwnership(database, name=publisher_name(), lease=settings.shard_lease),
        producer,
        published=lambda _: None,
        metrics=PublisherMetrics(registry),
    )
    restarts = Counter("restarts", "Restarts.", ("work",), registry=registry)
    try:
        async with supervised("publisher", publisher.run, restarts):
            await poll_until(lambda: _is_open(publisher))
            yield publisher
    finally:
        await database.close()


async def _is_open(publisher: Publisher) -> bool:
    return publisher.owned == list(range(SHARDS)) and publisher.condition() == "ok"
