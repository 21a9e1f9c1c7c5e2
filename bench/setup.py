"""The environment of a run: the servers, the service, the baselines, and keys to read."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import pgbench_baseline, plain_schema
from bench.databases import connected, create_database
from bench.deployment import MeasuredReplica, migrate_and_create_token, replica, settings_for
from bench.peers.running import Peers
from bench.programs import start_server
from bench.requests import Requests, create_requests
from projectkeys_servers.postgres import EmbeddedPostgres
from projectkeys_servers.servers import Servers, embedded_servers
from service.postgres.migrate import migrate
from testkit.http_client import request_bytes


@dataclass(frozen=True, slots=True)
class ConstantServer:
    """A baseline that responds with constant bytes."""

    pid: int
    port: int

    @property
    def request(self) -> str:
        """A request to it, as long as one to the service except for the path."""
        return request_bytes("GET", "/", token="-" * 71).decode()

    async def wait_until_published(self) -> None:
        """Return at once: it publishes nothing."""


@dataclass(frozen=True, slots=True)
class PgbenchScript:
    """A baseline of creates: a script of pgbench and the URL of its database."""

    file: Path
    url: str


@dataclass(frozen=True, slots=True)
class Setup:
    """The running programs; the constant servers respond with as many bytes as the service or the edge does."""

    servers: Servers
    service: MeasuredReplica
    requests: Requests
    constant_key: ConstantServer
    constant_page: ConstantServer
    constant_empty: ConstantServer
    same_schema: PgbenchScript
    plain_schema: PgbenchScript
    peers: Peers


@asynccontextmanager
async def new_setup(directory: Path, *, cache_dir: Path, report: Callable[[str], None]) -> AsyncIterator[Setup]:
    """Start everything; stop it at the end of the block.

    Args:
        directory: Where all files are written.
        cache_dir: Keeps Kafka's jars and the installation of the earlier commit between runs.
        report: Is called with a progress message before each step that takes long.

    Raises:
        BenchError: A baseline does not start.
        ReplicaError: The service does not start.
        EmbeddedServerError: A server does not start.
    """
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(embedded_servers(directory, cache_dir=cache_dir, report=report))
        report("Starting the service and the baselines ...")
        settings = settings_for(servers.postgres.url, servers.kafka.bootstrap_servers)
        token = await migrate_and_create_token(settings)
        service = await stack.enter_async_context(replica(settings, token, directory))
        requests = await create_requests(service)
        constant_key, constant_page, constant_empty = [
            await _constant_server(stack, length, directory)
            for length in (requests.key_length, requests.page_length, 0)
        ]
        yield Setup(
            servers=servers,
            service=service,
            requests=requests,
            constant_key=constant_key,
            constant_page=constant_page,
            constant_empty=constant_empty,
            same_schema=await _same_schema(servers.postgres, directory),
            plain_schema=await _plain_schema(servers.postgres, directory),
            peers=Peers(stack, servers, directory, cache_dir=cache_dir, report=report),
        )


async def _constant_server(stack: AsyncExitStack, length: int, directory: Path) -> ConstantServer:
    command = (sys.executable, "-m", "bench.constant_server", str(length))
    server = start_server(command, environment={}, log=directory / f"constant-server-{length}.log")
    process, port = await stack.enter_async_context(server)
    return ConstantServer(process.pid, port)


async def _same_schema(postgres: EmbeddedPostgres, directory: Path) -> PgbenchScript:
    url = await create_database(postgres, "same_schema")
    async with connected(url) as connection:
        await migrate(connection)
        await connection.execute(pgbench_baseline.INSERT_TENANT)
    return _script(directory / "same_schema.sql", pgbench_baseline.SCRIPT, url)


async def _plain_schema(postgres: EmbeddedPostgres, directory: Path) -> PgbenchScript:
    url = await create_database(postgres, "plain_schema", plain_schema.SCHEMA)
    return _script(directory / "plain_schema.sql", plain_schema.SCRIPT, url)


def _script(file: Path, text: str, url: str) -> PgbenchScript:
    file.write_text(text)
    return PgbenchScript(file, url)
