"""The measured service: its settings, a token, and its replicas, which run `serve` as in production."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import orjson

from bench.programs import BenchError, run_program
from testkit.http_client import request
from testkit.polling import poll_until
from testkit.processes import ROOT
from testkit.replica import Replica

TOPIC: Final = "project-keys"
_READY_TIMEOUT: Final = 60.0
_PUBLISHED_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 20.0
_SCOPES: Final = ("--scope", "org:admin", "--scope", "project:admin")


@dataclass(frozen=True, slots=True)
class Installation:
    """A Python interpreter and a directory that contains the package `service`."""

    interpreter: str = sys.executable
    directory: Path = ROOT

    @property
    def variables(self) -> dict[str, str]:
        """The variables that make the interpreter import the package from this directory only."""
        return {"PYTHONPATH": str(self.directory), "PYTHONSAFEPATH": "1"}

    async def run(self, *arguments: str, settings: Mapping[str, str]) -> str:
        """Run a command of the service and return its output; raises as `run_program` does."""
        command = (self.interpreter, "-m", "service", *arguments)
        return (await run_program(*command, environment={**settings, **self.variables})).strip()


_CURRENT: Final = Installation()


class MeasuredReplica(Replica):
    """A replica and a token with all scopes."""

    def __init__(
        self,
        environment: Mapping[str, str],
        token: str,
        directory: Path,
        installation: Installation = _CURRENT,
    ) -> None:
        super().__init__(
            {**environment, **installation.variables},
            directory=directory,
            command=("serve", "--create-topic"),
            interpreter=installation.interpreter,
        )
        self.token = token

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    async def send(self, method: str, path: str, body: object = None) -> bytes:
        """Send a request and return the body of the response.

        Raises:
            BenchError: The status is not 200 or 201.
        """
        response = await request(self.port, method, path, token=self.token, body=body)
        if response.status not in {200, 201}:
            raise BenchError(f"{method} {path}: {response.status} {response.body!r}")
        return response.body

    async def post(self, path: str, body: object) -> dict[str, str]:
        """Send a POST request and return the decoded response; raises as `send` does."""
        decoded: dict[str, str] = orjson.loads(await self.send("POST", path, body))
        return decoded

    async def wait_until_published(self, *, timeout: float = _PUBLISHED_TIMEOUT) -> None:
        """Wait until the outbox is empty: a rate counts only if every event was published.

        No measurement includes work of the previous one either.

        Raises:
            BenchError: The outbox is not empty after ``timeout`` seconds.
        """
        connection = await asyncpg.connect(self.environment["DATABASE_URL"])

        async def is_empty() -> bool:
            return not await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")

        try:
            await poll_until(
                is_empty,
                timeout=timeout,
                interval=0.05,
                error=lambda: BenchError(f"events are in the outbox after {timeout:.0f} s"),
            )
        finally:
            await connection.close()


def settings_for(database_url: str, bootstrap_servers: str, topic: str = TOPIC) -> dict[str, str]:
    """Return the settings that all replicas share."""
    return {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC": topic,
        "SHUTDOWN_DELAY": "0",
        "ACQUIRE_TIMEOUT": "10",  # on a busy machine 64 changes at a time would be refused after the default of 1 s
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
    }


async def migrate_and_create_token(settings: Mapping[str, str], installation: Installation = _CURRENT) -> str:
    """Create the schema and return a new token with all scopes."""
    await installation.run("migrate", settings=settings)
    return await installation.run("token", "create", "bench", *_SCOPES, settings=settings)


@asynccontextmanager
async def replica(
    settings: Mapping[str, str], token: str, directory: Path, installation: Installation = _CURRENT
) -> AsyncIterator[MeasuredReplica]:
    """Run a replica during the block; its log is written to ``directory``.

    Raises:
        ReplicaError: It does not become ready.
        BenchError: The block raised this; the end of the log is added.
    """
    started = MeasuredReplica(settings, token, directory, installation)
    started.start()
    try:
        await started.wait_until_ready(timeout=_READY_TIMEOUT)
        await poll_until(
            lambda: _can_publish(started),
            timeout=_READY_TIMEOUT,
            interval=0.1,
            error=lambda: BenchError(f"the service cannot publish after {_READY_TIMEOUT:.0f} s"),
        )
        yield started
        await started.stop(timeout=_STOP_TIMEOUT)
    except BenchError as error:
        raise BenchError(f"{error}\nThe end of the service's log:\n{started.log_tail()}") from None
    finally:
        started.kill()


async def _can_publish(started: MeasuredReplica) -> bool:
    """Return whether Kafka is reachable, which readiness does not require."""
    _, body = await started.readyz()
    return bool(body["checks"]["kafka"] == "ok")
