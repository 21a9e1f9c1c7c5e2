"""Counts the Python functions of the service that a request calls, in a process of its own.

`python -m bench.call_counts DATABASE_URL` prints the counts as JSON; the database has the schema.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final
from uuid import uuid4

import asyncpg
import orjson
import uvloop

import service
from bench.measurements import Metrics
from bench.programs import run_program
from bench.report import Goal, Row
from bench.setup import Setup
from projectkeys_servers.ports import free_port
from service import logs
from service.app import Service, build, publishing
from service.domain.model import NewOrganization, NewProject, Origin, Project
from service.server import listening
from service.settings import Settings
from testkit.http_client import RESPONSE_TIMEOUT, Response, read_response, request_bytes

_PACKAGE: Final = str(Path(service.__file__).parent)
_SQL: Final = frozenset(
    method.__code__
    for method in (
        asyncpg.Connection.execute,
        asyncpg.Connection.fetch,
        asyncpg.Connection.fetchrow,
        asyncpg.Connection.fetchval,
    )
)
_REQUESTS: Final = 20
"""Requests of each kind; the fewest calls are reported: no background task ran during that request."""

ORIGIN: Final = Origin(token_id=None, request_id="bench")

_GOALS: Final = {
    "POST key: modules to SQL": Goal(16, at_least=False),
    "POST key: functions to SQL": Goal(41, at_least=False),
    "POST key: functions to the response": Goal(61, at_least=False),
}


class _Profile:
    """Collects the functions of the service that are called, and those called before the first SQL statement."""

    def __init__(self) -> None:
        self.functions: set[CodeType] = set()
        self.before_sql: set[CodeType] | None = None
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Record a call; resuming a coroutine is a call as well."""
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename.startswith(_PACKAGE):
            self.functions.add(code)
            self.calls += 1
        elif self.before_sql is None and code in _SQL:
            self.before_sql = set(self.functions)

    def counts(self) -> dict[str, int]:
        """Return the counts by name; a module is a file, a function counts once."""
        before = self.before_sql or set()
        return {
            "modules to SQL": len({code.co_filename for code in before}),
            "functions to SQL": len(before),
            "functions to the response": len(self.functions),
            "calls to the response": self.calls,
        }


async def measure(setup: Setup, _seconds: int) -> Metrics:
    """Count the functions of a create and of a read, by name."""
    output = await run_program(sys.executable, "-m", __name__, setup.servers.postgres.url)
    metrics: Metrics = orjson.loads(output)
    return metrics


def rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    """Return a row for each count."""
    found = [metrics for (metrics,) in rounds]
    return [Row(name, [metrics[name] for metrics in found], goal=_GOALS.get(name)) for name in found[0]]


def settings_for(database_url: str, bootstrap_servers: str = "127.0.0.1:1") -> Settings:
    """Return the settings of a service in this process, on free ports; by default without Kafka."""
    return Settings(
        database_url=database_url,
        kafka_bootstrap_servers=(bootstrap_servers,),
        host=("127.0.0.1",),
        port=free_port(),
        ops_port=free_port(),
        shutdown_delay=0.0,
    )


async def count(database_url: str) -> dict[str, int]:
    """Serve requests from this process and count what they call."""
    parts = build(settings_for(database_url))
    async with publishing(parts, publish=False), listening(parts):
        project, token = await new_project(parts), await new_token(parts)
        keys = keys_path(project)
        create = create_request(keys, token)
        reader, writer = await asyncio.open_connection("127.0.0.1", parts.settings.port)
        key = f"{keys}{(await _send(reader, writer, create)).json()['id']}/"
        kinds = {
            "POST key": [create],
            "GET key": [request_bytes("GET", key, token=token)],
            "PUT key": [update_request(key, token, name) for name in ("one", "another")],
        }
        found = {
            f"{name}: {label}": value
            for name, requests in kinds.items()
            for label, value in (await _fewest_calls(reader, writer, requests)).items()
        }
        writer.close()
    return found


def create_request(keys: str, token: str) -> bytes:
    """Return a request that creates a key; ``keys`` is the path of the list."""
    return request_bytes("POST", keys, token=token, body=b'{"name":"Fabulous Key"}')


def update_request(key: str, token: str, name: str) -> bytes:
    """Return a request that renames a key; ``key`` is its path."""
    return request_bytes("PUT", key, token=token, body=b'{"name":"%s"}' % name.encode())


async def new_project(parts: Service) -> Project:
    """Create an organization with a project without keys."""
    slug = f"bench-{uuid4().hex}"
    owner, _ = await parts.use_cases.organizations.create(NewOrganization(slug, slug), ORIGIN)
    new = NewProject("bench", "bench", default_key=False)
    project, _ = await parts.use_cases.projects.create(owner, new, ORIGIN)
    return project


async def new_token(parts: Service) -> str:
    """Create a token that may create, read and change keys."""
    return await parts.use_cases.tokens.create("bench", scopes=["project:admin"])


def keys_path(project: Project) -> str:
    """Return the path of the list of a project's keys."""
    return f"/api/0/projects/{project.organization.slug}/{project.slug}/keys/"


async def _fewest_calls(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Sequence[bytes]
) -> dict[str, int]:
    """Send ``requests`` in turn; return the counts of the request with the fewest calls."""
    turns = cycle(requests)
    await _send(reader, writer, next(turns))
    found = []
    for _ in range(_REQUESTS):
        profile = _Profile()
        sys.setprofile(profile)
        await _send(reader, writer, next(turns))
        sys.setprofile(None)
        found.append(profile.counts())
    return min(found, key=lambda counts: counts["calls to the response"])


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> Response:
    writer.write(sent)
    async with asyncio.timeout(RESPONSE_TIMEOUT):
        return await read_response(reader)


def _main(database_url: str) -> None:
    with Path(os.devnull).open("w") as stream:
        writer = logs.configure(level="info", form="json", stream=stream)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found: Any = runner.run(count(database_url))
        writer.flush()
    sys.stdout.write(orjson.dumps(found).decode())


if __name__ == "__main__":
    _main(sys.argv[1])
