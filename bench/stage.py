"""All that a run needs: the servers, the service, its rivals, and keys to read."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import orjson

from bench import floor
from bench.client import request
from bench.processes import BenchError, running
from bench.subject import Subject, free_port, serving
from service.dev.postgres import EmbeddedPostgres
from service.dev.servers import Servers, embedded_servers
from service.postgres.migrate import migrate

_FLOOR: Final = "floor"
_PAGE: Final = 10
_PROJECTS: Final = 64
"""Projects whose pages are read in turn: as many as there are connections, so that hardly two ask for the same."""

_READY_WITHIN: Final = 30.0
_LOOK_EVERY: Final = 0.05
_BODY: Final = b'{"name":"Fabulous Key"}'


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent to the service, whole; and the lengths of the answers."""

    create: str
    written_project: int
    keys: tuple[str, ...]
    pages: tuple[str, ...]
    key_length: int
    page_length: int


@dataclass(frozen=True, slots=True)
class Bare:
    """A rival that answers constant bytes."""

    pid: int
    port: int

    @property
    def request(self) -> str:
        """What is sent to it, as long as what is sent to the service but for the path."""
        return request("GET", "/", token="-" * 71).decode()


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs: ``bare_key`` and ``bare_page`` answer as many bytes as the service does for these."""

    servers: Servers
    subject: Subject
    requests: Requests
    bare_key: Bare
    bare_page: Bare
    floor_url: str
    floor_script: Path


@asynccontextmanager
async def stage(data: Path, *, cache: Path, report: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Set everything up, for the time of the block.

    Args:
        data: a directory for all that is written.
        cache: keeps Kafka's jars between runs.
        report: is told, in words for people, of what takes more than a moment.

    Raises:
        BenchError: a part does not start.
    """
    script = data / "floor.sql"
    script.write_text(floor.SCRIPT)
    async with embedded_servers(data, cache_dir=cache, report=report) as servers:
        report("Starting the service and its rivals ...")
        async with serving(servers, data) as subject:
            requests = await _provision(subject)
            floor_url = await _floor_database(servers.postgres)
            async with (
                _bare(requests.key_length, data) as bare_key,
                _bare(requests.page_length, data) as bare_page,
            ):
                yield Stage(servers, subject, requests, bare_key, bare_page, floor_url, script)


async def _provision(subject: Subject) -> Requests:
    """A project to write into, and some to read from."""
    await subject.ask("POST", "/api/0/organizations/", {"name": "bench", "slug": "bench"})
    written = await _project(subject, "written")
    lists = [await _filled(subject, f"read-{number}") for number in range(_PROJECTS)]
    path, keys = lists[0]
    return Requests(
        create=request("POST", _keys_of("written"), token=subject.token, body=_BODY).decode(),
        written_project=written,
        keys=tuple(request("GET", key, token=subject.token).decode() for key in keys),
        pages=tuple(request("GET", one, token=subject.token).decode() for one, _ in lists),
        key_length=len(await subject.ask("GET", keys[0])),
        page_length=len(await subject.ask("GET", path)),
    )


async def _project(subject: Subject, name: str) -> int:
    body = {"name": name, "defaultKey": False}
    return int(orjson.loads(await subject.ask("POST", "/api/0/organizations/bench/projects/", body))["id"])


def _keys_of(project: str) -> str:
    return f"/api/0/projects/bench/{project}/keys/"


async def _filled(subject: Subject, project: str) -> tuple[str, list[str]]:
    """A new project with a page of keys and one more: the path of their list, and those of the keys."""
    await _project(subject, project)
    path = _keys_of(project)
    made = [await subject.ask("POST", path, {"name": "Fabulous Key"}) for _ in range(_PAGE + 1)]
    return path, [f"{path}{orjson.loads(answer)['id']}/" for answer in made]


async def _floor_database(postgres: EmbeddedPostgres) -> str:
    """A database beside the service's, with the same schema."""
    url = postgres.url.rpartition("/")[0] + f"/{_FLOOR}"
    async with _connected(postgres.url) as admin:
        await admin.execute(f"CREATE DATABASE {_FLOOR}")
    async with _connected(url) as connection:
        await migrate(connection)
        await connection.execute(floor.TENANT)
    return url


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _bare(length: int, data: Path) -> AsyncIterator[Bare]:
    port = free_port(data, "bare aiohttp")
    command = [sys.executable, "-m", "bench.bare", str(port), str(length)]
    async with running(command, environment={}, log=data / "bare.log") as pid:
        await _until_open(port)
        yield Bare(pid, port)


async def _until_open(port: int) -> None:
    try:
        async with asyncio.timeout(_READY_WITHIN):
            while True:
                with suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        raise BenchError(f"bare aiohttp does not listen on port {port} after {_READY_WITHIN:.0f} s") from None
