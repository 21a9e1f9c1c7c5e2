"""Two services on one pair of servers: one with many keys, and one with few for comparison."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Never

from tqdm import tqdm

from bench.databases import create_database
from bench.deployment import MeasuredReplica, migrate_and_create_token, replica, settings_for
from bench.scale.loading import Sample, Sizes, load, sample
from projectkeys_servers.servers import Servers, embedded_servers

SMALL: Final = Sizes(keys=1000, projects=1, large_project=1000)


@dataclass(frozen=True, slots=True)
class LoadedService:
    """A service with the keys of its database, and the requests that measure it."""

    service: MeasuredReplica
    sizes: Sizes
    sample: Sample

    @property
    def url(self) -> str:
        """The URL of the database."""
        return self.service.environment["DATABASE_URL"]


@dataclass(frozen=True, slots=True)
class Services:
    """The servers and both services."""

    directory: Path
    servers: Servers
    large: LoadedService
    small: LoadedService


@asynccontextmanager
async def new_services(
    directory: Path, sizes: Sizes, *, cache_dir: Path, report: Callable[[str], None]
) -> AsyncIterator[Services]:
    """Start servers, load both databases and start the services; stop everything at the end of the block.

    Raises:
        ReplicaError: A service does not start.
        EmbeddedServerError: A server does not start.
    """
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(embedded_servers(directory, cache_dir=cache_dir, report=report))
        report(f"Loading {sizes.keys} keys ...")
        large, small = [
            await _loaded_service(stack, servers, directory, name, each)
            for name, each in (("large", sizes), ("small", SMALL))
        ]
        yield Services(directory, servers, large, small)


async def _loaded_service(
    stack: AsyncExitStack, servers: Servers, directory: Path, name: str, sizes: Sizes
) -> LoadedService:
    url = await create_database(servers.postgres, name)
    settings = settings_for(url, servers.kafka.bootstrap_servers, topic=f"{name}-keys")
    token = await migrate_and_create_token(settings)
    with tqdm(total=sizes.keys, unit="key", desc=f"loading {name}", leave=False, disable=None) as bar:
        await load(url, sizes, progress=lambda keys: _advance(bar, keys))
    service = await stack.enter_async_context(replica(settings, token, directory))
    return LoadedService(service, sizes, await sample(url, sizes, token))


def _advance(bar: "tqdm[Never]", number: int) -> None:
    bar.update(number)
