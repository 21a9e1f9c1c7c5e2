"""Work on many keys: a backlog, churn of the outbox, a replay, a comparison with the topic, a project's deletion.

Rates are in keys per second until the outbox is empty; memory is the peak of the process that does the work, in MB.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, Never

import orjson
from tqdm import tqdm

from bench.backlog import create_backlog, publish_backlog
from bench.databases import connected
from bench.measurements import measure_load
from bench.programs import BenchError
from bench.report import Goal, Row
from bench.requests import ORGANIZATION
from bench.scale.memory import peak_memory, reset_peak
from bench.scale.services import Services
from testkit.http_client import request
from testkit.processes import running

_MEGA: Final = 1e6
_POLL_INTERVAL: Final = 0.2
_SLOWEST_RATE: Final = 300
"""Keys per second; slower work is an error."""

_START_TIMEOUT: Final = 120.0
_CHURN_SLICE: Final = 10
"""Seconds of creates between two looks at the outbox."""

_FLAT: Final = Goal(1.2, at_least=False)


def _timeout(keys: int) -> float:
    return _START_TIMEOUT + keys / _SLOWEST_RATE


async def size(services: Services) -> list[Row]:
    """Measure the table of keys."""
    keys, table = services.large.sizes.keys, "SELECT pg_total_relation_size('project_key')"
    async with connected(services.large.url) as connection:
        return [Row("load: bytes per key with indexes", [await connection.fetchval(table) / keys])]


async def backlog(services: Services, *, events: int) -> list[Row]:
    """Measure the publishing of a backlog."""
    service, kafka = services.large.service, services.servers.kafka
    url, project = services.large.url, services.large.sample.large_project
    created = await create_backlog(kafka, url, project, events=events)
    reset_peak(service.pid)
    with _bar("publishing the backlog", events) as bar:
        recovery = await publish_backlog(kafka, url, created, progress=lambda done: _set(bar, done))
    await service.wait_until_published()
    return [
        Row("backlog: events per second", [events / recovery.seconds], goal=Goal(20_000)),
        Row("  Kafka's return → first event, s", [recovery.until_first]),
        _memory_row(peak_memory(service.pid)),
    ]


async def churn(services: Services, *, events: int) -> list[Row]:
    """Create keys; measure the sizes of the outbox and of the service's memory, which must not grow."""
    service, sizes, memory, rates, done = services.large.service, list[int](), list[int](), list[float](), 0
    with _bar("churn", events) as bar:
        while done < events:
            requests = [services.large.sample.create]
            found = await measure_load(services.servers, service, requests, seconds=_CHURN_SLICE, expected=201)
            done += int(found["responses"])
            rates.append(found["rate"])
            sizes.append(await _outbox_bytes(services.large.url))
            memory.append(service.process.resident_memory())
            _set(bar, min(done, events))
    first, last = (sizes[0], memory[0]), (sizes[-1], memory[-1])
    return [
        Row("churn: creates per second", rates),
        Row("  size of the outbox with its indexes, MB", [size / _MEGA for size in sizes]),
        Row("    at the end / after the first 10 s", [last[0] / first[0]]),
        Row("  memory of the service, MB", [size / _MEGA for size in memory]),
        Row("    at the end / after the first 10 s", [last[1] / first[1]], goal=_FLAT),
    ]


async def replay(services: Services) -> list[Row]:
    """Replay all keys, then compare them with the topic."""

    async def start() -> None:
        await _run_command(services, "replay", "--all")

    keys, seconds, peak = await _measure_job(services, "replay", start)
    began = time.perf_counter()
    output, reconcile_peak = await _run_command(services, "reconcile", "--json")
    compared = orjson.loads(output)["keys"]
    return [
        Row("replay: keys per second", [keys / seconds]),
        _memory_row(peak),
        Row("reconcile: keys per second", [compared / (time.perf_counter() - began)]),
        _memory_row(reconcile_peak),
    ]


async def _run_command(services: Services, *arguments: str) -> tuple[str, int]:
    """Run `projectkeys events` and return its output and the peak of its memory in bytes."""
    timeout, peak, began = _timeout(services.large.sizes.keys), 0, time.perf_counter()
    command = [sys.executable, "-m", "service", "events", *arguments]
    output = services.directory / f"{arguments[0]}.txt"
    errors, environment = output.with_suffix(".log"), services.large.service.environment
    async with running(command, environment=environment, output=output, errors=errors) as process:
        while process.running:
            peak = max(peak, peak_memory(process.pid))
            if time.perf_counter() - began > timeout:
                raise BenchError(f"events {' '.join(arguments)}: not finished after {timeout:.0f} s")
            await asyncio.sleep(_POLL_INTERVAL)
        if process.exit_status != 0:
            raise BenchError(f"events {' '.join(arguments)}: {process.output[-1000:]} {process.errors[-1000:]}")
        return process.output, peak


async def deletion(services: Services) -> list[Row]:
    """Delete the large project."""
    service = services.large.service

    async def start() -> None:
        path = f"/api/0/projects/{ORGANIZATION}/large/"
        response = await request(service.port, "DELETE", path, token=service.token)
        if response.status != 204:  # noqa: PLR2004 -- an HTTP status
            raise BenchError(f"DELETE {path}: {response.status} {response.body!r}")

    keys, seconds, peak = await _measure_job(services, "project.delete", start)
    return [Row("deletion of the large project: keys per second", [keys / seconds]), _memory_row(peak)]


async def _measure_job(services: Services, kind: str, start: Callable[[], Awaitable[None]]) -> tuple[int, float, int]:
    """Start a job; return its number of keys, the seconds until its events are published, and the peak of memory."""
    service, sizes = services.large.service, services.large.sizes
    reset_peak(service.pid)
    began, done, finished = time.perf_counter(), 0, False
    starting = asyncio.ensure_future(start())
    async with connected(services.large.url) as connection:
        with _bar(kind, sizes.keys) as bar:
            while not finished:
                if time.perf_counter() - began > _timeout(sizes.keys):
                    raise BenchError(f"the job {kind} is not finished after {_timeout(sizes.keys):.0f} s")
                await asyncio.sleep(_POLL_INTERVAL)
                row = await connection.fetchrow(_SELECT_JOB, kind)
                if row is not None:
                    done, finished = row["done"], row["finished"]
                    _set(bar, done)
    await starting
    await service.wait_until_published(timeout=_timeout(sizes.keys))
    return done, time.perf_counter() - began, peak_memory(service.pid)


_SELECT_JOB: Final = """
    SELECT done, finished_at IS NOT NULL AS finished FROM batch_job WHERE kind = $1 ORDER BY id DESC LIMIT 1
"""


async def _outbox_bytes(url: str) -> int:
    async with connected(url) as connection:
        return int(await connection.fetchval("SELECT pg_total_relation_size('outbox')"))


def _memory_row(peak: int) -> Row:
    return Row("  peak memory, MB", [peak / _MEGA])


def _bar(name: str, total: int) -> "tqdm[Never]":
    return tqdm(total=total, unit="key", desc=name, leave=False, disable=None)


def _set(bar: "tqdm[Never]", done: int) -> None:
    bar.update(done - bar.n)
