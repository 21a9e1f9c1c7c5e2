"""`python -m bench.profile`: where the processor time of a create, a read and an update goes.

The service runs in this process with its publisher; PostgreSQL, Apache Kafka and the load generator run in others.
"""

import asyncio
import cProfile
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import uvloop

from bench import call_counts, closed_loop, ladder
from bench.measurements import CONNECTIONS
from bench.programs import BenchError, run_worker
from projectkeys_servers.errors import EmbeddedServerError
from projectkeys_servers.servers import embedded_servers
from service import logs
from service.app import Service, build, publishing
from service.domain.model import NewProjectKey
from service.postgres.migrate import migrate
from service.server import listening
from testkit.http_client import request_bytes

_CACHE: Final = Path(".cache")
_SECONDS: Final = 3
_WORKER_TIMEOUT: Final = 40.0
_KEYS: Final = 8 * CONNECTIONS
"""Keys that are read and changed in turn, so that two changes of a key are never in progress."""

_START: Final = 4.0
"""Seconds in which the publisher claims its shards and opens its sessions."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of request: the complete requests of each measurement, which are sent in turn, and the expected status.

    An update must differ from those of the measurement before: one without effect takes another path.
    """

    name: str
    requests: Callable[[int], Sequence[str]]
    status: int


async def _profile() -> str:
    """Return the ladder of each kind of request, and the functions of the service that one request calls."""
    with tempfile.TemporaryDirectory(prefix="projectkeys-profile-") as directory:
        async with embedded_servers(Path(directory), cache_dir=_CACHE.absolute(), report=_report) as servers:
            await _create_schema(servers.postgres.url)
            counts = await call_counts.count(servers.postgres.url)
            parts = build(call_counts.settings_for(servers.postgres.url, servers.kafka.bootstrap_servers))
            async with publishing(parts, create_topic=True), listening(parts):
                await asyncio.sleep(_START)
                texts = [await _ladder(parts, kind) for kind in await _kinds(parts)]
    lines = [f"  {name:44}{count:6}" for name, count in counts.items()]
    return "\n\n".join([*texts, "\n".join(["own modules, functions and calls of one request", *lines])])


async def _create_schema(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection)
    finally:
        await connection.close()


async def _kinds(parts: Service) -> list[_Kind]:
    """Create a project with a key for each connection; return the requests."""
    project, token = await call_counts.new_project(parts), await call_counts.new_token(parts)
    keys = call_counts.keys_path(project)
    execute = parts.use_cases.create_key.execute
    created = await asyncio.gather(*(execute(NewProjectKey(), project, call_counts.ORIGIN) for _ in range(_KEYS)))
    paths = [f"{keys}{one.key.public_key}/" for one in created]
    create = [call_counts.create_request(keys, token).decode()]
    reads = [request_bytes("GET", path, token=token).decode() for path in paths]

    def updates(measurement: int) -> Sequence[str]:
        names = [f"{name} {measurement}" for name in ("one", "another")]
        return [call_counts.update_request(path, token, name).decode() for name in names for path in paths]

    return [
        _Kind("create", lambda _: create, 201),
        _Kind("read", lambda _: reads, 200),
        _Kind("update", updates, 200),
    ]


async def _ladder(parts: Service, kind: _Kind) -> str:
    await _send(parts, kind, 0, seconds=1)
    before = time.process_time()
    requests = await _send(parts, kind, 1, seconds=_SECONDS)
    request_seconds = (time.process_time() - before) / requests
    profile = cProfile.Profile(time.thread_time)  # its default, wall time, includes the time of other processes
    before = time.process_time()
    profile.enable()
    try:
        requests = await _send(parts, kind, 2, seconds=_SECONDS)
    finally:
        profile.disable()
    steps = ladder.ladder(
        profile,
        requests=requests,
        profiled_seconds=time.process_time() - before,
        request_seconds=request_seconds,
    )
    return ladder.text(kind.name, steps)


async def _send(parts: Service, kind: _Kind, measurement: int, *, seconds: float) -> int:
    """Send requests for ``seconds``; return their number."""
    requests = kind.requests(measurement)
    plan = closed_loop.Plan(parts.settings.port, requests, kind.status, CONNECTIONS, seconds)
    result = await run_worker("bench.closed_loop", plan, timeout=seconds + _WORKER_TIMEOUT)
    return closed_loop.Load(**result).responses


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> int:
    """Print the profile; return the exit status."""
    with Path(os.devnull).open("w") as stream:
        writer = logs.configure(level="info", form="json", stream=stream)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(_profile())
        except (BenchError, EmbeddedServerError, OSError) as error:
            _report(str(error))
            return 1
        finally:
            writer.flush()
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
