"""Runs the peers, each from its first use to the end of the run."""

import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from bench import plain_schema
from bench.databases import create_database
from bench.deployment import Installation, migrate_and_create_token, replica, settings_for
from bench.peers import earlier_commit, go_build
from bench.programs import BenchError, start_server
from bench.requests import CREATE_BODY, READ_KEYS, create_requests, gather
from projectkeys_servers.servers import Servers
from service.domain.events import SHARDS
from service.kafka.config import KafkaConnection
from service.kafka.topic import check_topic
from testkit.http_client import request, request_bytes

PLAIN: Final = "FastAPI, SQLAlchemy, send_and_wait"
GO: Final = "Go: net/http, pgx, franz-go"
EARLIER: Final = f"commit {earlier_commit.COMMIT}"
"""The names of the peers, which are the labels of their rows."""

_TOKEN: Final = "-" * 71


class Target(Protocol):
    """A program that receives requests."""

    @property
    def pid(self) -> int:
        """The process id."""

    @property
    def port(self) -> int:
        """The port of its requests."""

    async def wait_until_published(self) -> None:
        """Wait until every event of past requests is published."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running peer and its complete requests; without ``updates`` and ``pages`` if it has no such requests."""

    target: Target
    create: str
    keys: Sequence[str]
    updates: Sequence[str] = ()
    pages: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _PlainService:
    pid: int
    port: int

    async def wait_until_published(self) -> None:
        """Return at once: a response is sent after Kafka's acknowledgement."""


class Peers:
    """Starts each peer at its first use; ``stack`` stops them. The plain ones get ``read_keys`` keys to read."""

    def __init__(
        self,
        stack: AsyncExitStack,
        servers: Servers,
        directory: Path,
        *,
        cache_dir: Path,
        report: Callable[[str], None],
        read_keys: int = READ_KEYS,
    ) -> None:
        self._stack = stack
        self._servers = servers
        self._directory = directory
        self._cache_dir = cache_dir
        self._report = report
        self._read_keys = read_keys
        self._started: dict[str, Peer | None] = {}

    async def get(self, name: str) -> Peer | None:
        """Return the peer with one of the names above; None, with a message, if this machine cannot run it.

        Raises:
            BenchError: It does not start.
        """
        if name not in self._started:
            self._report(f"Starting the peer {name} ...")
            self._started[name] = await self._start(name)
        return self._started[name]

    async def _start(self, name: str) -> Peer | None:
        try:
            start = await self._prepare(name)
        except BenchError as error:
            self._report(str(error))
            return None
        return await start

    async def _prepare(self, name: str) -> Coroutine[Any, Any, Peer]:
        """Build or install a peer; return the coroutine that starts it."""
        if name == EARLIER:
            return self._start_earlier(await earlier_commit.install(self._cache_dir))
        if name == GO:
            return self._start_plain("go_service", (str(await go_build.build(self._cache_dir)),))
        return self._start_plain("plain_service", (sys.executable, "-m", "bench.peers.plain_service"))

    async def _start_plain(self, name: str, command: Sequence[str]) -> Peer:
        """Start a service with the requests of `bench.peers.plain_service`."""
        url = await create_database(self._servers.postgres, name, plain_schema.SCHEMA)
        bootstrap = self._servers.kafka.bootstrap_servers
        await check_topic(KafkaConnection((bootstrap,)), name, partitions=SHARDS, create=True)
        environment = {
            "DATABASE_URL": url,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_TOPIC": name,
            "TOKEN": _TOKEN,
        }
        process, port = await self._stack.enter_async_context(
            start_server(command, environment=environment, log=self._directory / f"{name}.log")
        )
        path, body = "/projects/1/keys/", orjson.loads(CREATE_BODY)

        async def create_key() -> str:
            created = await request(port, "POST", path, token=_TOKEN, body=body)
            if created.status != 201:  # noqa: PLR2004 -- an HTTP status
                raise BenchError(f"{name}: {created.status} {created.body!r}")
            return f"{path}{created.json()['id']}/"

        keys = await gather(create_key() for _ in range(self._read_keys))
        return Peer(
            target=_PlainService(process.pid, port),
            create=request_bytes("POST", path, token=_TOKEN, body=CREATE_BODY).decode(),
            keys=[request_bytes("GET", key, token=_TOKEN).decode() for key in keys],
        )

    async def _start_earlier(self, installation: Installation) -> Peer:
        url = await create_database(self._servers.postgres, "earlier_commit")
        settings = settings_for(url, self._servers.kafka.bootstrap_servers, topic="earlier-keys")
        token = await migrate_and_create_token(settings, installation)
        service = await self._stack.enter_async_context(replica(settings, token, self._directory, installation))
        requests = await create_requests(service)
        return Peer(service, requests.create, requests.keys, requests.updates, requests.pages)
