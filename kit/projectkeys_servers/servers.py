"""Starts PostgreSQL and Kafka concurrently, and stops them at the end of a block."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from projectkeys_servers.kafka import EmbeddedKafka
from projectkeys_servers.postgres import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Servers:
    """Both servers, of which only those that were requested are started."""

    postgres: EmbeddedPostgres
    kafka: EmbeddedKafka


@asynccontextmanager
async def embedded_servers(
    data_dir: Path,
    *,
    cache_dir: Path,
    report: Callable[[str], None],
    postgres: bool = True,
    kafka: bool = True,
) -> AsyncIterator[Servers]:
    """Start servers; stop them at the end of the block, or if the start fails or is cancelled.

    Args:
        data_dir: The directory whose subdirectories `postgres/` and `kafka/` have the data.
        cache_dir: The directory of downloads.
        report: Receives a message to the user before a slow step.
        postgres: Whether to start PostgreSQL.
        kafka: Whether to start Kafka.

    Raises:
        EmbeddedServerError: A server cannot start; the other one has been stopped.
    """
    servers = Servers(
        EmbeddedPostgres(data_dir / "postgres", report=report),
        EmbeddedKafka(data_dir / "kafka", cache_dir=cache_dir, report=report),
    )
    starts = [server.start for server, wanted in ((servers.postgres, postgres), (servers.kafka, kafka)) if wanted]
    try:
        # Wait for all, so that no server is still starting when the servers are stopped.
        for outcome in await asyncio.gather(*(start() for start in starts), return_exceptions=True):
            if outcome is not None:
                raise outcome
        yield servers
    finally:
        await asyncio.gather(servers.postgres.stop(), servers.kafka.stop())
