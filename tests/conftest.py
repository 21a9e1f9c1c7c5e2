"""Real servers, started once; a fresh database and a fresh topic for each test that asks for them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import uvloop
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request
from pytest_aiohttp import AiohttpClient

from service.app import Service, build, create_app, publishing
from service.dev.servers import Servers, embedded_servers
from service.domain.model import Origin, Project
from service.domain.scopes import SCOPES
from service.postgres.schema import migrate
from service.settings import Settings
from tests.kafka_harness import new_topic

type_client = TestClient[Request, Application]

_TEMPLATE = "template_projectkeys"
ORIGIN = Origin(token_id=None, request_id="a-test")


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The loop that production runs on."""
    return uvloop.EventLoopPolicy()


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """PostgreSQL and Apache Kafka, for the whole run."""
    data = tmp_path_factory.mktemp("servers")
    cache = Path(__file__).parents[1] / ".cache"
    async with embedded_servers(data, cache_dir=cache, report=print) as started:
        yield started


@pytest.fixture(scope="session")
def kafka_bootstrap(servers: Servers) -> str:
    """Where Kafka is."""
    return servers.kafka.bootstrap_servers
