"""The PostgreSQL and the Kafka that all experiments of a run share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from projectkeys_servers.kafka import EmbeddedKafka
from projectkeys_servers.postgres import EmbeddedPostgres
from projectkeys_servers.servers import embedded_servers


@dataclass(frozen=True, slots=True)
class SharedServers:
    """A running PostgreSQL and a running Apache Kafka.

    Attributes:
        postgres: The PostgreSQL server.
        kafka: The broker.
        bootstrap_servers: Kafka's addresses, separated by commas; not the broker's in experiments with a cluster.
        directory: Where experiments write files.
        cache_dir: Keeps Kafka's jars between runs.
        report: Is called with progress messages.
    """

    postgres: EmbeddedPostgres
    kafka: EmbeddedKafka
    bootstrap_servers: str
    directory: Path
    cache_dir: Path
    report: Callable[[str], None]

    @property
    def postgres_port(self) -> int:
        """The port of PostgreSQL."""
        port = urlsplit(self.postgres.url).port
        assert port is not None, "the server's URL contains it"
        return port


@asynccontextmanager
async def shared_servers(
    directory: Path, *, cache_dir: Path, report: Callable[[str], None]
) -> AsyncIterator[SharedServers]:
    """Run both servers during the block.

    Raises:
        EmbeddedServerError: One of them does not start.
    """
    async with embedded_servers(directory / "servers", cache_dir=cache_dir, report=report) as started:
        postgres, kafka = started.postgres, started.kafka
        yield SharedServers(postgres, kafka, kafka.bootstrap_servers, directory, cache_dir, report)
