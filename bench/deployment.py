"""The measured service: its settings, a token, and its replicas, which run `serve` as in production."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import orjson

from bench.programs import BenchError, run_program
from testkit.http_client import request
from testkit.polling import poll_until
from testkit.replica import Replica

TOPIC: Final = "project-keys"
_COMMAND: Final = (sys.executable, "-m", "service")
_READY_TIMEOUT: Final = 60.0
_PUBLISHED_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 20.0
_SCOPES: Final = ("--scope", "org:admin", "--scope", "project:admin")


class MeasuredReplica(Replica):
    """A replica and a token with all scopes."""

    def __init__(self, environment: Mapping[str, str], token: str, directory: Path) -> None:
        super().__init__(environment, directory=directory, command=("serve", "--create-topic"))
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

    async def wait_until_published(self) -> None:
        """Wait until every event is published, so that no measurement includes work of the previous one.

        Raises:
            BenchError: The outbox is not empty after a minute.
        """

        async def is_empty() -> bool:
            return (await self.metrics())["outbox_depth"] == 0

        await poll_until(
            is_empty,
            timeout=_PUBLISHED_TIMEOUT,
            interval=0.05,
            error=lambda: BenchError(f"events are in the outbox after {_PUBLISHED_TIMEOUT:.0f} s"),
        )


def settings_for(database_url: str, bootstrap_servers: str) -> dict[str, str]:
    """Return the settings that all replicas share."""
    return {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC": TOPIC,
        "SHUTDOWN_DELAY": "0",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
    }


async def migrate_and_create_token(settings: Mapping[str, str]) -> str:
    """Create the schema and return a new token with all scopes."""
    await run_program(*_COMMAND, "migrate", environment=settings)
    token = await run_program(*_COMMAND, "token", "create", "bench", *_SCOPES, environment=settings)
    return token.strip()


@asynccontextmanager
async def replica(settings: Mapping[str, str], token: str, directory: Path) -> AsyncIterator[MeasuredReplica]:
    """Run a replica during the block; its log is written to ``directory``.

    Raises:
        ReplicaError: It does not become ready.
        BenchError: The block raised this; the end of the log is added.
    """
    started = MeasuredReplica(settings, token, directory)
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
