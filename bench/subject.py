"""The service under test, run and asked as in production."""

import asyncio
import http.client
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import orjson
from prometheus_client.parser import text_string_to_metric_families

from bench.processes import BenchError, output_of, running
from service.dev.ports import remembered_port
from service.dev.servers import Servers

TOPIC: Final = "project-keys"
_COMMAND: Final = (sys.executable, "-m", "service")
_READY_WITHIN: Final = 60.0
_DRAINED_WITHIN: Final = 60.0
_ASK_WITHIN: Final = 10.0
_LAST_WORDS: Final = 10  # lines
_SCOPES: Final = ("--scope", "org:admin", "--scope", "project:admin")


def free_port(data: Path, server: str) -> int:
    """A port of this machine that nobody uses at this moment, for ``server``."""
    return remembered_port(data / f"port-{uuid4().hex}", server=server, report=print)


@dataclass(frozen=True, slots=True)
class Subject:
    """The running service: its process, its ports, a token for everything."""

    pid: int
    port: int
    ops_port: int
    token: str

    async def ask(self, method: str, path: str, body: object = None) -> bytes:
        """The body of a good answer of the API.

        Raises:
            BenchError: the answer is not a good one.
        """
        given = None if body is None else orjson.dumps(body)
        status, answer = await asyncio.to_thread(_exchange, self.port, method, path, self.token, given)
        if status not in {200, 201}:
            raise BenchError(f"{method} {path}: {status} {answer!r}")
        return answer

    async def samples(self) -> dict[str, float]:
        """What the service tells Prometheus: by name, with ``le`` behind it in a histogram's buckets."""
        _, text = await asyncio.to_thread(_exchange, self.ops_port, "GET", "/metrics", "", None)
        return {
            sample.name + sample.labels.get("le", ""): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    async def drained(self) -> None:
        """Wait until every event is published, so that no measurement pays for the one before it.

        Raises:
            BenchError: it takes too long.
        """
        deadline = time.monotonic() + _DRAINED_WITHIN
        while (await self.samples())["projectkeys_outbox_depth"] > 0:
            if time.monotonic() > deadline:
                raise BenchError(f"events still wait in the outbox after {_DRAINED_WITHIN:.0f} s")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(servers: Servers, data: Path) -> AsyncIterator[Subject]:
    """`projectkeys serve` on these servers, for the time of the block; raises as `replica` does."""
    environment = environment_of(servers.postgres.url, servers.kafka.bootstrap_servers)
    token = await prepared(environment)
    async with replica(environment, token, data) as subject:
        yield subject


def environment_of(database_url: str, bootstrap: str) -> dict[str, str]:
    """The settings that all replicas share."""
    return {
        "HOST": "127.0.0.1",
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_TOPIC": TOPIC,
        "SHUTDOWN_DELAY": "0",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
    }


async def prepared(environment: Mapping[str, str]) -> str:
    """Make the schema, and a token for everything."""
    await output_of(*_COMMAND, "migrate", environment=environment)
    token = await output_of(*_COMMAND, "token", "create", "bench", *_SCOPES, environment=environment)
    return token.strip()


@asynccontextmanager
async def replica(environment: Mapping[str, str], token: str, data: Path) -> AsyncIterator[Subject]:
    """`projectkeys serve`, for the time of the block; its log goes to ``data``.

    Raises:
        BenchError: it does not start, or what the block raises, with the end of the service's log.
    """
    port, ops_port = free_port(data, "the API"), free_port(data, "the operators' port")
    ports = {"PORT": str(port), "OPS_PORT": str(ops_port)}
    log = data / f"service-{port}.log"
    async with running(
        [*_COMMAND, "serve", "--create-topic"], environment={**environment, **ports}, log=log
    ) as pid:
        try:
            await _until_ready(ops_port)
            yield Subject(pid=pid, port=port, ops_port=ops_port, token=token)
        except BenchError as error:
            raise BenchError(f"{error}\nThe service's last words:\n{_last_words(log)}") from None


def _last_words(log: Path) -> str:
    """The end of the log, without the lines of requests that went well."""
    lines = [
        line for line in log.read_text().splitlines() if '"event":"request"' not in line or '"fault"' in line
    ]
    return "\n".join(lines[-_LAST_WORDS:])


async def _until_ready(ops_port: int) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while not await asyncio.to_thread(_is_ready, ops_port):
        if time.monotonic() > deadline:
            raise BenchError(f"the service is not ready after {_READY_WITHIN:.0f} s")
        await asyncio.sleep(0.1)


def _is_ready(ops_port: int) -> bool:
    """Ready, and able to publish, which readiness alone does not ask for."""
    try:
        _, body = _exchange(ops_port, "GET", "/readyz", "", None)
    except OSError:
        return False
    answer = orjson.loads(body)
    return bool(answer["status"] == "ok" and answer["checks"]["kafka"] == "ok")


def _exchange(port: int, method: str, path: str, token: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_WITHIN)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
