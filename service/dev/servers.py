"""PostgreSQL and Kafka, started concurrently and stopped at the end of a block."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.dev.kafka import EmbeddedKafka
from service.dev.postgres import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Servers:
    """Both servers; a server that was not requested is not started."""

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
    """Start the servers; stop them at the end of the block, or if the start fails or is cancelled.

    Args:
        data_dir: The directory of their data, in `postgres/` and `kafka/`.
        cache_dir: The directory of downloads.
        report: Receives messages for the user before slow steps.
        postgres: Whether to start PostgreSQL.
        kafka: Whether to start Kafka.

    Raises:
        EmbeddedServerError: A server cannot start; the other one has been stopped.
    """
    servers = Servers(
        EmbeddedPostgres(data_dir / "postgres", report=report),
        EmbeddedKafka(data_dir / "kafka", cache_dir=cache_dir, report=report),
    )
    starts = [
        server.start for server, wanted in ((servers.postgres, postgres), (servers.kafka, kafka)) if wanted
    ]
    try:
        # Wait for both, so that neither is still starting when the other one has failed.
        for outcome in await asyncio.gather(*(start() for start in starts), return_exceptions=True):
            if outcome is not None:
                raise outcome
        yield servers
    finally:
        await asyncio.gather(servers.postgres.stop(), servers.kafka.stop())
