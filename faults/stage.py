"""Where an experiment takes place: a database and a topic of its own on the world's servers, and replicas."""

import hashlib
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg

from faults.history import Tenant
from faults.replica import Replica
from faults.world import World
from service.dev.ports import remembered_port
from service.kafka.config import KafkaConnection
from service.kafka.topic import check_topic
from service.postgres.schema import migrate

PARTITIONS: Final = 12
_TENANTS: Final = 2
_SCOPES: Final = ["project:admin", "org:admin"]

_INSERT_TENANT: Final = """
    WITH tenant AS (INSERT INTO organization (slug, name) VALUES ($1, $1) RETURNING id)
    INSERT INTO project (organization_id, slug, name) SELECT id, $2, $2 FROM tenant RETURNING organization_id, id
"""
_INSERT_CALLER: Final = """
    INSERT INTO api_token (name, token_hash, last_four, scopes) VALUES ('faults', $1, $2, $3)
"""


@dataclass(slots=True)
class Stage:
    """A deployment: what its replicas share."""

    world: World
    database_url: str
    topic: str
    tenants: Sequence[Tenant]
    token: str
    directory: Path
    replicas: list[Replica] = field(default_factory=list)

    def replica(
        self,
        *,
        module: Sequence[str] = ("service",),
        **settings: str,
    ) -> Replica:
        """A further replica, not started; ``settings`` beside the deployment's, by their names."""
        number = len(self.replicas)
        made = Replica(
            {
                "DATABASE_URL": self.database_url,
                "KAFKA_BOOTSTRAP_SERVERS": self.world.bootstrap,
                "KAFKA_TOPIC": self.topic,
                "SHARD_LEASE": "2",
                "SHUTDOWN_DELAY": "0",
                "LOG_FORMAT": "json",
                **settings,
            },
            port=free_port(self.directory),
            ops_port=free_port(self.directory),
            log=self.directory / f"replica-{number}.log",
            module=module,
        )
        self.replicas.append(made)
        return made

    async def fetch(self, question: str) -> Any:
        """What the database answers, one value."""
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    def logs(self) -> list[str]:
        """What the replicas have written, a line each."""
        return [
            line
            for one in self.replicas
            if one.log.exists()
            for line in one.log.read_text(errors="replace").splitlines()
        ]


def free_port(directory: Path) -> int:
    """A port that nobody uses at this moment."""
    return remembered_port(directory / f"port-{uuid4().hex}", server="a replica", report=print)


async def make_topic(one: Stage) -> None:
    """Make its topic."""
    connection = KafkaConnection(tuple(one.world.bootstrap.split(",")))
    await check_topic(connection, one.topic, partitions=PARTITIONS, create=True, timeout=60)


@asynccontextmanager
async def stage(world: World, rng: random.Random, *, topic: bool = True) -> AsyncIterator[Stage]:
    """A new database, a new topic, two tenants and a token; the replicas end with the block."""
    name = f"faults_{uuid4().hex}"
    directory = world.directory / name
    directory.mkdir()
    url = await _new_database(world, name)
    token = f"sntryu_{secrets.token_hex(32)}"
    tenants = await _provision(url, token, rng)
    made = Stage(world, url, name, tenants, token, directory)
    if topic:
        await make_topic(made)
    try:
        yield made
    finally:
        for one in made.replicas:
            one.kill()


async def _new_database(world: World, name: str) -> str:
    admin = await asyncpg.connect(world.servers.postgres.url)
    try:
        await admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    finally:
        await admin.close()
    url = world.servers.postgres.url.rpartition("/")[0] + f"/{name}"
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection)
    finally:
        await connection.close()
    return url


async def _provision(url: str, token: str, rng: random.Random) -> list[Tenant]:
    """By plain SQL: a fault of the service must not spoil the stage."""
    connection = await asyncpg.connect(url)
    tenants = []
    try:
        for number in range(_TENANTS):
            organization, project = f"org-{number}", f"project-{rng.randrange(10**6)}"
            row = await connection.fetchrow(_INSERT_TENANT, organization, project)
            assert row is not None
            path = f"/api/0/projects/{organization}/{project}/keys/"
            tenants.append(Tenant(row["organization_id"], row["id"], path))
        digest = hashlib.sha256(token.encode()).digest()
        await connection.execute(_INSERT_CALLER, digest, token[-4:], _SCOPES)
    finally:
        await connection.close()
    return tenants
