"""The deployment of one experiment: its own database and topic on the shared servers, and replicas."""

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
from faults.shared_servers import SharedServers
from service.kafka.config import KafkaConnection
from service.kafka.topic import check_topic
from service.postgres.migrate import migrate
from testkit.replica import Replica

PARTITIONS: Final = 12
_TENANTS: Final = 2
_SCOPES: Final = ["project:admin", "org:admin"]

_INSERT_TENANT: Final = """
    WITH tenant AS (INSERT INTO organization (slug, name) VALUES ($1, $1) RETURNING id)
    INSERT INTO project (organization_id, slug, name) SELECT id, $2, $2 FROM tenant RETURNING organization_id, id
"""
_INSERT_API_CLIENT: Final = """
    INSERT INTO api_token (name, token_hash, last_four, scopes) VALUES ('faults', $1, $2, $3)
"""


@dataclass(slots=True)
class Deployment:
    """What the replicas share, the replicas, and those of the edge."""

    servers: SharedServers
    database_url: str
    topic: str
    tenants: Sequence[Tenant]
    token: str
    directory: Path
    replicas: list[Replica] = field(default_factory=list)
    edges: list[Replica] = field(default_factory=list)

    def add_replica(self, *, module: Sequence[str] = ("service",), **settings: str) -> Replica:
        """Add a replica without starting it; ``settings`` override those of the deployment."""
        added = Replica(
            {
                "DATABASE_URL": self.database_url,
                "KAFKA_BOOTSTRAP_SERVERS": self.servers.bootstrap_servers,
                "KAFKA_TOPIC": self.topic,
                "SHARD_LEASE": "2",
                "SHUTDOWN_DELAY": "0",
                "LOG_FORMAT": "json",
                **settings,
            },
            directory=self.directory,
            module=module,
        )
        self.replicas.append(added)
        return added

    def add_edge(self, **settings: str) -> Replica:
        """Add a replica of the edge without starting it."""
        shared = {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers.bootstrap_servers,
            "KAFKA_TOPIC": self.topic,
            "SHUTDOWN_DELAY": "0",
            "LOG_FORMAT": "json",
        }
        added = Replica({**shared, **settings}, directory=self.directory, command=("edge",))
        added.environment["EDGE_PORT"] = str(added.port)
        self.edges.append(added)
        return added

    async def fetch_value(self, query: str) -> Any:
        """Return the single value that a query selects."""
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    def log_lines(self) -> list[str]:
        """Return the log lines of all replicas, also of the edge."""
        return [line for replica in (*self.replicas, *self.edges) for line in replica.log_lines()]


async def create_topic(deployment: Deployment) -> None:
    """Create the deployment's topic."""
    connection = KafkaConnection(tuple(deployment.servers.bootstrap_servers.split(",")))
    await check_topic(connection, deployment.topic, partitions=PARTITIONS, create=True, timeout=60)


@asynccontextmanager
async def new_deployment(
    servers: SharedServers, rng: random.Random, *, topic: bool = True, schema: str | None = None
) -> AsyncIterator[Deployment]:
    """Create a database, a topic, two tenants and a token; the replicas are killed at the end of the block.

    ``schema`` is the SQL that creates the tables; None is the current schema.
    """
    name = f"faults_{uuid4().hex}"
    directory = servers.directory / name
    directory.mkdir()
    url = await _create_database(servers, name, schema)
    token = f"sntryu_{secrets.token_hex(32)}"
    tenants = await _insert_tenants(url, token, rng)
    deployment = Deployment(servers, url, name, tenants, token, directory)
    if topic:
        await create_topic(deployment)
    try:
        yield deployment
    finally:
        for replica in (*deployment.replicas, *deployment.edges):
            replica.kill()


async def _create_database(servers: SharedServers, name: str, schema: str | None) -> str:
    admin = await asyncpg.connect(servers.postgres.url)
    try:
        await admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    finally:
        await admin.close()
    url = servers.postgres.url.rpartition("/")[0] + f"/{name}"
    connection = await asyncpg.connect(url)
    try:
        await (migrate(connection) if schema is None else connection.execute(schema))
    finally:
        await connection.close()
    return url


async def _insert_tenants(url: str, token: str, rng: random.Random) -> list[Tenant]:
    """Insert tenants and the token by plain SQL: an error of the service must not affect the set-up."""
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
        await connection.execute(_INSERT_API_CLIENT, digest, token[-4:], _SCOPES)
    finally:
        await connection.close()
    return tenants
