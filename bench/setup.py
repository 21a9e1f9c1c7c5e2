"""The environment of a run: the servers, the service, the baselines, and keys to read."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from bench import pgbench_baseline
from bench.deployment import MeasuredReplica, migrate_and_create_token, replica, settings_for
from bench.programs import BenchError
from service.dev.ports import free_port
from service.dev.postgres import EmbeddedPostgres
from service.dev.servers import Servers, embedded_servers
from service.postgres.migrate import migrate
from testkit.http_client import NotSentError, request, request_bytes
from testkit.polling import poll_until
from testkit.processes import running

_BASELINE_DATABASE: Final = "baseline"
_PAGE_SIZE: Final = 10
_PROJECTS: Final = 64
"""Projects whose pages are read in turn: one for each connection, so that few requests share a query."""

_READY_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 20.0
_BODY: Final = b'{"name":"Fabulous Key"}'


@dataclass(frozen=True, slots=True)
class Requests:
    """The complete requests to the service, and the lengths of the bodies of its responses."""

    create: str
    written_project: int
    keys: tuple[str, ...]
    pages: tuple[str, ...]
    key_length: int
    page_length: int


@dataclass(frozen=True, slots=True)
class ConstantServer:
    """A baseline that responds with constant bytes."""

    pid: int
    port: int

    @property
    def request(self) -> str:
        """A request to it, as long as one to the service except for the path."""
        return request_bytes("GET", "/", token="-" * 71).decode()


@dataclass(frozen=True, slots=True)
class Setup:
    """The running programs; the constant servers respond with as many bytes as the service does."""

    servers: Servers
    service: MeasuredReplica
    requests: Requests
    constant_key: ConstantServer
    constant_page: ConstantServer
    pgbench_url: str
    pgbench_script: Path


@asynccontextmanager
async def new_setup(
    directory: Path, *, cache_dir: Path, report: Callable[[str], None]
) -> AsyncIterator[Setup]:
    """Start everything; stop it at the end of the block.

    Args:
        directory: Where all files are written.
        cache_dir: Keeps Kafka's jars between runs.
        report: Is called with a progress message before each step that takes long.

    Raises:
        BenchError: A baseline does not start.
        ReplicaError: The service does not start.
        EmbeddedServerError: A server does not start.
    """
    script = directory / "pgbench.sql"
    script.write_text(pgbench_baseline.SCRIPT)
    async with embedded_servers(directory, cache_dir=cache_dir, report=report) as servers:
        report("Starting the service and the baselines ...")
        settings = settings_for(servers.postgres.url, servers.kafka.bootstrap_servers)
        token = await migrate_and_create_token(settings)
        async with replica(settings, token, directory) as service:
            requests = await _create_keys(service)
            pgbench_url = await _create_baseline_database(servers.postgres)
            async with (
                _constant_server(requests.key_length, directory) as constant_key,
                _constant_server(requests.page_length, directory) as constant_page,
            ):
                yield Setup(servers, service, requests, constant_key, constant_page, pgbench_url, script)


async def _create_keys(service: MeasuredReplica) -> Requests:
    """Create a project to write into, and projects with keys to read."""
    await service.post("/api/0/organizations/", {"name": "bench", "slug": "bench"})
    written_project = await _create_project(service, "written")
    pages = [await _create_page(service, f"read-{number}") for number in range(_PROJECTS)]
    path, keys = pages[0]
    token = service.token
    return Requests(
        create=request_bytes("POST", _keys_path("written"), token=token, body=_BODY).decode(),
        written_project=written_project,
        keys=tuple(request_bytes("GET", key, token=token).decode() for key in keys),
        pages=tuple(request_bytes("GET", page, token=token).decode() for page, _ in pages),
        key_length=len(await service.send("GET", keys[0])),
        page_length=len(await service.send("GET", path)),
    )


async def _create_project(service: MeasuredReplica, name: str) -> int:
    body = {"name": name, "defaultKey": False}
    return int((await service.post("/api/0/organizations/bench/projects/", body))["id"])


def _keys_path(project: str) -> str:
    return f"/api/0/projects/bench/{project}/keys/"


async def _create_page(service: MeasuredReplica, project: str) -> tuple[str, list[str]]:
    """Create a project with more keys than a page; return the paths of its list and of its keys."""
    await _create_project(service, project)
    path = _keys_path(project)
    created = [await service.post(path, {"name": "Fabulous Key"}) for _ in range(_PAGE_SIZE + 1)]
    return path, [f"{path}{key['id']}/" for key in created]


async def _create_baseline_database(postgres: EmbeddedPostgres) -> str:
    """Create a database with the service's schema for pgbench; return its URL."""
    url = postgres.url.rpartition("/")[0] + f"/{_BASELINE_DATABASE}"
    async with _connected(postgres.url) as admin:
        await admin.execute(f"CREATE DATABASE {_BASELINE_DATABASE}")
    async with _connected(url) as connection:
        await migrate(connection)
        await connection.execute(pgbench_baseline.INSERT_TENANT)
    return url


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _constant_server(length: int, directory: Path) -> AsyncIterator[ConstantServer]:
    port = free_port()
    command = [sys.executable, "-m", "bench.constant_server", str(port), str(length)]
    log = directory / f"constant-server-{port}.log"
    async with running(command, environment={}, output=log, stop_timeout=_STOP_TIMEOUT) as process:
        await poll_until(
            lambda: _responds(port),
            timeout=_READY_TIMEOUT,
            interval=0.05,
            error=lambda: BenchError(f"no server on port {port} after {_READY_TIMEOUT:.0f} s"),
        )
        yield ConstantServer(process.pid, port)


async def _responds(port: int) -> bool:
    try:
        await request(port, "GET", "/")
    except NotSentError:
        return False
    return True
