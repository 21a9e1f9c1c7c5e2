"""The service as processes: started as an operator would, watched, signalled, ended."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import ClientError, ClientSession, ClientTimeout

from service.app import build
from service.domain.scopes import SCOPES
from service.settings import Settings
from tests.conftest import make_project
from tests.events import until
from tests.kafka_harness import unused_port

ROOT = Path(__file__).parents[1]
_READY_WITHIN = 15.0
_ANSWER_WITHIN = ClientTimeout(total=5)
_KILLED_WITHIN = 10.0


class Process:
    """A `projectkeys` command; what it writes goes to files, and only the named environment reaches it."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], directory: Path) -> None:
        name = uuid4().hex
        self._files = (directory / f"{name}.out", directory / f"{name}.err")
        out, err = (file.open("wb") for file in self._files)
        with out, err:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                [sys.executable, "-m", "service", *arguments],
                cwd=directory,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has written to its standard output so far."""
        return self._files[0].read_text()

    @property
    def errors(self) -> str:
        """What it has written to its standard error, log lines among it."""
        return self._files[1].read_text()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL, if it still runs."""
        self._process.kill()
        self._process.wait(_KILLED_WITHIN)

    async def exited(self, *, within: float) -> int:
        """Its exit code once it has ended; fails if it does not within so many seconds."""

        async def ended() -> bool:
            return not self.running

        await until(ended, patience=within)
        return self._process.returncode


@asynccontextmanager
async def running(*arguments: str, environment: Mapping[str, str], directory: Path) -> AsyncIterator[Process]:
    """A process that does not outlive the block."""
    process = Process(*arguments, environment=environment, directory=directory)
    try:
        yield process
    finally:
        process.kill()


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the replicas of one deployment share; its topic and its database are there."""

    settings: Settings
    token: str
    keys_path: str

    @property
    def environment(self) -> dict[str, str]:
        """The settings that differ from the defaults, as a process reads them."""
        return {
            "DATABASE_URL": self.settings.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_TOPIC": self.settings.kafka_topic,
            "SHARD_LEASE": str(self.settings.shard_lease),
            "SHUTDOWN_DELAY": str(self.settings.shutdown_delay),
        }

    @property
    def bootstrap(self) -> str:
        """Where Kafka is."""
        return ",".join(self.settings.kafka_bootstrap_servers)


async def deploy(settings: Settings) -> Deployment:
    """Make a project and a token in the database that ``settings`` name."""
    joined = build(settings)
    await joined.database.start()
    project = await make_project(joined)
    token = await joined.api.tokens.create("test", scopes=SCOPES)
    await joined.database.close()
    return Deployment(settings, token, f"/api/0/projects/{project.organization.slug}/{project.slug}/keys/")


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that serves or publishes."""

    process: Process
    deployment: Deployment
    port: int
    ops_port: int

    @property
    def keys_url(self) -> str:
        """Where keys are made."""
        return f"http://127.0.0.1:{self.port}{self.deployment.keys_path}"

    async def ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            status, _ = await self.readyz()
        except ClientError:
            assert self.process.running, self.process.errors
            return False
        return status == 200

    async def readyz(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz."""
        async with ClientSession(timeout=_ANSWER_WITHIN) as session:
            response = await session.get(f"http://127.0.0.1:{self.ops_port}/readyz")
            return response.status, await response.json()

    async def metric(self, name: str) -> float:
        """A figure without labels of /metrics."""
        async with ClientSession(timeout=_ANSWER_WITHIN) as session:
            text = await (await session.get(f"http://127.0.0.1:{self.ops_port}/metrics")).text()
        found = re.search(rf"^projectkeys_{name} (\S+)$", text, re.MULTILINE)
        assert found, f"there is no {name} in\n{text}"
        return float(found[1])

    async def owns(self, shards: int) -> bool:
        """Whether it publishes so many shards."""
        return await self.metric("shards_owned") == shards


@asynccontextmanager
async def replica(
    deployment: Deployment, directory: Path, command: str = "serve", **environment: str
) -> AsyncIterator[Replica]:
    """A replica that is ready; it does not outlive the block."""
    port, ops_port = unused_port(), unused_port()
    settings = {**deployment.environment, "PORT": str(port), "OPS_PORT": str(ops_port), **environment}
    async with running(*command.split(), environment=settings, directory=directory) as process:
        one = Replica(process, deployment, port, ops_port)
        await until(one.ready, patience=_READY_WITHIN)
        yield one
