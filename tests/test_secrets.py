"""Secrets appear in no log line, metric, event or audit entry."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import asyncpg

from projectkeys_servers.ports import free_port
from service.app import Service
from service.domain.scopes import SCOPES
from service.settings import Settings
from testkit.polling import poll_until
from tests.conftest import make_project
from tests.events import reading


@dataclass(frozen=True, slots=True)
class Process:
    """The service as a process, with the file that contains its output."""

    api: str
    ops: str
    output: Path


@asynccontextmanager
async def _serving(settings: Settings, output: Path) -> AsyncIterator[Process]:
    ports = free_port(), free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "KAFKA_TOPIC": settings.kafka_topic,
        "HOST": "127.0.0.1",
        "PORT": str(ports[0]),
        "OPS_PORT": str(ports[1]),
        "SHUTDOWN_DELAY": "0",
        "LOG_LEVEL": "debug",
    }
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve", env=environment, stdout=file, stderr=file
        )
    api, ops = (f"http://127.0.0.1:{port}" for port in ports)
    try:
        await poll_until(lambda: _ready(ops))
        yield Process(api, ops, output)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)


async def _ready(ops: str) -> bool:
    try:
        async with aiohttp.ClientSession() as client, client.get(f"{ops}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


def _send_raw(api: str, request: bytes) -> bytes:
    """Send ``request`` and return the first bytes of the response."""
    with socket.create_connection(("127.0.0.1", int(api.rpartition(":")[2])), timeout=5) as connection:
        connection.sendall(request)
        return connection.recv(65536)


async def test_secrets_appear_in_no_log_line_metric_event_or_audit_entry(
    service: Service,
    topic: str,
    postgres: "asyncpg.Connection[asyncpg.Record]",
    tmp_path: Path,
) -> None:
    """With the log level debug; requests that succeed, fail or are malformed."""
    project = await make_project(service)
    token = await service.use_cases.tokens.create("test", scopes=SCOPES)
    path = f"/api/0/projects/{project.organization.slug}/{project.slug}/keys/"
    chosen, wrong = "c" * 32, "sntryu_" + "d" * 64
    settings = replace(service.settings, kafka_topic=topic)
    bearer = {"Authorization": f"Bearer {token}"}
    async with (
        _serving(settings, tmp_path / "output") as process,
        aiohttp.ClientSession(process.api, headers=bearer) as client,
    ):
        statuses, bodies = [], []
        for body in ({}, {"secret": chosen}, {"secret": chosen}, {"secret": [chosen]}):
            async with client.post(path, json=body) as response:
                statuses.append(response.status)
                bodies.append(await response.json())
        async with client.post(path, data=f'{{"secret": "{chosen}"'.encode()) as response:
            statuses.append(response.status)
        async with client.get(path, headers={"Authorization": f"Bearer {wrong}"}) as response:
            statuses.append(response.status)
        assert statuses[:2] == [201, 201]
        assert [status // 100 for status in statuses[2:]] == [4] * 4
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}"
        for status, request in (
            (400, f"{head}\x00\r\n\r\n"),
            (400, f"{head}\r\nBroken {token}\r\n\r\n"),
            (431, f"{head}{'e' * 9000}\r\n\r\n"),
        ):
            received = await asyncio.to_thread(_send_raw, process.api, request.encode())
            assert f" {status} ".encode() in received
        binary = b"GET /\xff%0a%1b[2J HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert b" 400 Bad Request" in await asyncio.to_thread(_send_raw, process.api, binary)
        async with reading(settings.kafka_bootstrap_servers[0], topic) as reader:
            records = await reader.count(2)
        async with aiohttp.ClientSession() as scraper, scraper.get(f"{process.ops}/metrics") as response:
            metrics = await response.text()
    log = process.output.read_text()
    rows = [
        str(dict(row))
        for table in ("audit_entry", "outbox", "api_token")
        for row in await postgres.fetch(f"SELECT * FROM {table}")  # noqa: S608 -- constant names
    ]
    events = [f"{record.key} {record.value} {record.headers}" for record in records]
    assert 'status":201' in log
    assert "projectkeys_http_request_duration_seconds_count" in metrics
    everything = "\n".join([log, metrics, *rows, *events])
    for secret in (token, bodies[0]["secret"], chosen, wrong):
        assert secret not in everything
    assert all(line.startswith('{"timestamp"') for line in log.replace('": ', '":').splitlines())
