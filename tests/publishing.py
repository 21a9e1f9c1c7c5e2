"""A publisher of one test, with whatever it publishes to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prometheus_client import CollectorRegistry

from service.app import open_database
from service.domain.partitioning import SHARDS
from service.metrics import PublisherMetrics
from service.publisher.publisher import Publisher
from service.publisher.sender import Producer
from service.settings import Settings
from tests.events import until


@asynccontextmanager
async def publishing_to(producer: Producer, settings: Settings) -> AsyncIterator[Publisher]:
    """A publisher that owns every shard, each opened."""
    database = open_database(settings)
    await database.start()
    metrics = PublisherMetrics(CollectorRegistry())
    publisher = Publisher(
        database, producer, published=lambda _: None, metrics=metrics, lease=settings.shard_lease
    )
    task = asyncio.create_task(publisher.run())
    try:
        await until(lambda: _is_open(publisher))
        yield publisher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await database.close()


async def _is_open(publisher: Publisher) -> bool:
    return publisher.owned == list(range(SHARDS)) and publisher.condition() == "ok"
