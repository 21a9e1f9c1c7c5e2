"""The servers that all experiments of a run share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from service.dev.servers import Servers, embedded_servers


@dataclass(frozen=True, slots=True)
class World:
    """A real PostgreSQL and a real Apache Kafka.

    Attributes:
        servers: Both.
        directory: Takes what experiments write.
        cache: Keeps Kafka's jars between runs.
        say: Is told what goes on.
        bootstrap: Where Kafka is.
    """

    servers: Servers
    directory: Path
    cache: Path
    say: Callable[[str], None]
    bootstrap: str

    @property
    def postgres_port(self) -> int:
        """Where Postgres is."""
        port = urlsplit(self.servers.postgres.url).port
        assert port is not None, "the server's URL names it"
        return port


@asynccontextmanager
async def world(directory: Path, *, cache: Path, say: Callable[[str], None]) -> AsyncIterator[World]:
    """Both servers, for the time of the block.

    Raises:
        EmbeddedServerError: one of them does not start.
    """
    async with embedded_servers(directory / "servers", cache_dir=cache, report=say) as servers:
        yield World(servers, directory, cache, say, servers.kafka.bootstrap_servers)
