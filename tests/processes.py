"""Runs the service as processes: replicas that share one database and topic, and commands."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from service.domain.scopes import SCOPES
from service.settings import Settings
from testkit import processes
from testkit.processes import Process
from testkit.replica import Replica
from tests.conftest import make_project
from tests.http_service import without_publisher


@asynccontextmanager
async def running(*arguments: str, environment: Mapping[str, str], directory: Path) -> AsyncIterator[Process]:
    """Run a `projectkeys` command during the block, with no environment variables but ``environment``."""
    name = uuid4().hex
    files = (directory / f"{name}.out", directory / f"{name}.err")
    command = [sys.executable, "-m", "service", *arguments]
    async with processes.running(command, environment=environment, output=files[0], errors=files[1]) as process:
        yield process


@dataclass(frozen=True, slots=True)
class Deployment:
    """The settings, token and project that the replicas of a test share; the database and the topic exist."""

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
        """The bootstrap servers, separated by commas."""
        return ",".join(self.settings.kafka_bootstrap_servers)


async def deploy(settings: Settings) -> Deployment:
    """Create a project and a token in the database of ``settings``."""
    async with without_publisher(settings) as service:
        project = await make_project(service)
        token = await service.use_cases.tokens.create("test", scopes=SCOPES)
    return Deployment(settings, token, f"/api/0/projects/{project.organization.slug}/{project.slug}/keys/")


class DeployedReplica(Replica):
    """A replica of a deployment."""

    def __init__(self, deployment: Deployment, directory: Path, command: str, **environment: str) -> None:
        settings = {**deployment.environment, **environment}
        super().__init__(settings, directory=directory, command=command.split())
        self.deployment = deployment

    @property
    def keys_url(self) -> str:
        """The URL for creating keys."""
        return f"http://127.0.0.1:{self.port}{self.deployment.keys_path}"

    async def metric(self, name: str) -> float:
        """Return a sample of /metrics by its name with labels and without the prefix `projectkeys_`."""
        return (await self.metrics())[name]

    async def owns(self, shards: int) -> bool:
        """Return whether it publishes this number of shards."""
        return await self.metric("shards_owned") == shards


@asynccontextmanager
async def replica(
    deployment: Deployment, directory: Path, command: str = "serve", **environment: str
) -> AsyncIterator[DeployedReplica]:
    """Run a replica during the block; the block starts when the replica is ready."""
    started = DeployedReplica(deployment, directory, command, **environment)
    started.start()
    try:
        await started.wait_until_ready()
        yield started
    finally:
        started.kill()
