"""The servers that all experiments of a run share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.dev.servers import Servers, embedded_servers


@dataclass(frozen=True, slots=True)
class World:
    """A real PostgreSQL and a real Apache Kafka.

    Attributes:
        servers: Both.
        directory: Takes what experiments write.
        cache: Keeps Kafka's jars between runs.
        say: Is told what goes on.
    """

    servers: Servers
    directory: Path
    cache: Path
    say: Callable[[str], None]

    @property
    def bootstrap(self) -> str:
        """Where Kafka is."""
        return self.servers.kafka.bootstrap_servers


@asynccontextmanager
async def world(directory: Path, *, cache: Path, say: Callable[[str], None]) -> AsyncIterator[World]:
    """Both servers, for the time of the block.

    Raises:
        EmbeddedServerError: one of them does not start.
    """
    async with embedded_servers(directory / "servers", cache_dir=cache, report=say) as servers:
        yield World(servers, directory, cache, say)
