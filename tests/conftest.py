"""Real servers, started once for a run; a fresh database and a fresh topic for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog
import uvloop
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from aiohttp.web import BaseRequest
from playwright.async_api import Browser
from pytest_aiohttp import AiohttpClient

from projectkeys_servers.kafka import EmbeddedKafka
from projectkeys_servers.servers import Servers, embedded_servers
from service.app import Service, build, publishing
from service.domain.model import NewOrganization, NewProject, Organization, Origin, Project
from service.domain.scopes import SCOPES
from service.postgres.database import Limits
from service.postgres.migrate import migrate
from service.publisher.notifier import Notifier
from service.settings import Settings
from tests import browser as browser_module
from tests.http_service import ApiServer, Site, open_site, without_publisher
from tests.kafka_harness import new_topic
from tests.lossy_database import Losses, LossyDatabase

_TEMPLATE = "template_projectkeys"
CACHE = Path(__file__).parents[1] / ".cache"
"""Contains the files of the servers that are kept between runs."""

ORIGIN = Origin(token_id=None, request_id="test")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    """Run the tests on the loop of production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """Log tracebacks without local variables, as in production: rendering them takes minutes."""
    structlog.configure(processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])


@pytest.fixture(autouse=True)
def _same_log_configuration() -> Iterator[None]:
    """Restore the configuration of the log, which commands change that run in this process."""
    before = structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """PostgreSQL and Apache Kafka for the whole run."""
    data = tmp_path_factory.mktemp("servers")
    async with embedded_servers(data, cache_dir=CACHE, report=print) as started:
        yield started


@pytest.fixture(scope="session")
def kafka_bootstrap(servers: Servers) -> str:
    """The bootstrap servers of Kafka."""
    return servers.kafka.bootstrap_servers


@pytest.fixture(scope="module")
async def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedKafka]:
    """A broker that the tests of a module may stop; each starts it again."""
    data = tmp_path_factory.mktemp("own-kafka")
    async with embedded_servers(data, cache_dir=CACHE, report=print, postgres=False) as started:
        yield started.kafka


@pytest.fixture(scope="session")
async def template(servers: Servers) -> str:
    """The name of a database with the current schema, from which tests create their own."""
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute(f"CREATE DATABASE {_TEMPLATE}")
    await admin.close()
    connection = await asyncpg.connect(_url(servers, _TEMPLATE))
    await migrate(connection)
    await connection.close()
    return _TEMPLATE


def _url(servers: Servers, database: str) -> str:
    return servers.postgres.url.rpartition("/")[0] + f"/{database}"


@asynccontextmanager
async def _new_database(servers: Servers, template: str) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield _url(servers, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def database_url(servers: Servers, template: str) -> AsyncIterator[str]:
    """The URL of a new database with the schema and no rows."""
    async with _new_database(servers, template) as url:
        yield url


@pytest.fixture
async def empty_database_url(servers: Servers) -> AsyncIterator[str]:
    """The URL of a new database without the schema."""
    name = f"empty_{uuid4().hex}"
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    yield _url(servers, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def topic(kafka_bootstrap: str) -> str:
    """A new topic with twelve partitions."""
    return await new_topic(kafka_bootstrap)


def _settings(database_url: str, kafka_bootstrap: str) -> Settings:
    return Settings(
        database_url=database_url,
        kafka_bootstrap_servers=(kafka_bootstrap,),
        kafka_topic="no-such-topic",
        public_url="https://keys.example.com",
        ingest_url="https://sentry.io",
        shard_lease=1.0,
        shutdown_delay=0.0,
    )


@pytest.fixture
def settings(database_url: str, kafka_bootstrap: str) -> Settings:
    """The settings of a test; their topic does not exist."""
    return _settings(database_url, kafka_bootstrap)


@pytest.fixture(scope="session")
async def site(servers: Servers, template: str) -> AsyncIterator[Site]:
    """A service on its ports for the whole run: for tests that check only the rows that they create."""
    async with (
        _new_database(servers, template) as url,
        open_site(replace(_settings(url, servers.kafka.bootstrap_servers), usage=True)) as opened,
    ):
        yield opened


@pytest.fixture(scope="session")
async def console_site(servers: Servers, template: str) -> AsyncIterator[browser_module.Site]:
    """A service with a publisher, for the tests of the console."""
    bootstrap = servers.kafka.bootstrap_servers
    async with _new_database(servers, template) as url:
        settings = replace(_settings(url, bootstrap), kafka_topic=await new_topic(bootstrap))
        async with browser_module.open_site(settings) as opened:
            yield opened


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium."""
    async with browser_module.chromium() as started:
        yield started


@pytest.fixture
async def console(browser: Browser, console_site: browser_module.Site) -> AsyncIterator[browser_module.Console]:
    """A page of the console with a session."""
    async with browser_module.open_console(browser, console_site) as opened:
        await opened.sign_in()
        yield opened


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """The service without its publisher: events wait in the outbox."""
    async with without_publisher(settings) as built:
        yield built


@pytest.fixture
async def second(settings: Settings) -> AsyncIterator[Service]:
    """Another replica on the same database with caches of its own, without its publisher."""
    async with without_publisher(settings) as built:
        yield built


@pytest.fixture
async def publishing_service(settings: Settings, topic: str) -> AsyncIterator[Service]:
    """The service with its publisher, on a new topic."""
    built = build(replace(settings, kafka_topic=topic))
    async with publishing(built):
        yield built


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the database of the service."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@dataclass(frozen=True, slots=True)
class Api:
    """A client of the application with a token."""

    client: TestClient[BaseRequest, None]
    token: str
    project: Project

    @property
    def keys_path(self) -> str:
        """The path of the project's keys."""
        return f"/api/0/projects/{self.project.organization.slug}/{self.project.slug}/keys/"

    async def request(self, method: str, path: str, *, token: str | None = None, **options: Any) -> ClientResponse:
        """Send a request with the token, with another one if given, or with none if that is empty."""
        bearer = self.token if token is None else token
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        headers.update(options.pop("headers", {}))
        return await self.client.request(method, path, headers=headers, **options)

    async def create(self, body: Any, **options: Any) -> ClientResponse:
        """Send ``POST …/keys/`` with a JSON body."""
        return await self.request("POST", self.keys_path, json=body, **options)


MakeApi = Callable[[Service], Awaitable[Api]]


@pytest.fixture
def make_api(aiohttp_client: AiohttpClient) -> MakeApi:
    """Create a client of a service with an organization, a project without keys and a token with all scopes."""

    async def make(service: Service) -> Api:
        project = await make_project(service)
        token = await service.use_cases.tokens.create("test", scopes=SCOPES)
        client: TestClient[BaseRequest, None] = await aiohttp_client(ApiServer(service))
        return Api(client, token, project)

    return make


@pytest.fixture
async def api(service: Service, make_api: MakeApi) -> Api:
    """A client of the service without its publisher."""
    return await make_api(service)


async def make_organization(service: Service, slug: str = "the-interstellar-jurisdiction") -> Organization:
    """Create an organization."""
    created, _ = await service.use_cases.organizations.create(NewOrganization(slug, slug), ORIGIN)
    return created


async def make_project(
    service: Service, *, organization: Organization | None = None, slug: str = "pump-station"
) -> Project:
    """Create a project without keys, in a new organization unless ``organization`` is given."""
    owner = organization or await make_organization(service)
    created, _ = await service.use_cases.projects.create(owner, NewProject(slug, slug, default_key=False), ORIGIN)
    return created


@pytest.fixture
def losses() -> Losses:
    """The connections that break during the test."""
    return Losses()


@pytest.fixture
async def lossy(settings: Settings, losses: Losses, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """The service with a database whose connections break, without its publisher."""
    database = LossyDatabase(lambda: settings.database_url, Limits())
    database.losses = losses
    monkeypatch.setattr("service.app.open_database", lambda *_: database)
    # A notification in the background would use one of the connections.
    monkeypatch.setattr(Notifier, "notify", lambda _: None)
    service = build(settings)
    await database.start()
    yield service
    await database.close()
