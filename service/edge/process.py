"""The process `projectkeys edge`: constructs its parts, runs them and shuts down in order."""

import gc
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, disable_created_metrics

from projectkeys_consumer import ProjectKeys
from service.concurrency.supervisor import Work
from service.edge.application import BODY_LIMIT, create_edge_app
from service.edge.authorization import Authorization, RateWindows
from service.edge.client_keys import ClientKeys
from service.edge.known_relays import KnownRelays, RelaysFileError
from service.edge.lookups import EdgeToken, Lookups
from service.edge.metrics import EdgeMetrics, TableMetrics
from service.edge.outcomes import Outcomes
from service.edge.project_configs import ProjectConfigs
from service.edge.registrations import Challenges
from service.edge.relay_requests import RelayRequests
from service.edge.rotating_secrets import RotatingSecret, watch
from service.edge.unknown_keys import UnknownKeys
from service.environment import SettingsError
from service.http.ops import Health
from service.kafka.client import KafkaClient
from service.kafka.config import KafkaConnection
from service.kafka.plain_producer import PlainProducer
from service.kafka_connection import kafka_connection
from service.logs import LineWriter
from service.metrics import ProcessMetrics, RequestMetrics
from service.process import HttpServer, Port, build_server, open_ports, serve_until_stopped, stop_signal
from service.settings import EdgeProcessSettings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Edge:
    """The parts of the process."""

    settings: EdgeProcessSettings
    registry: CollectorRegistry
    keys: ProjectKeys
    producer: PlainProducer
    server: HttpServer
    app: web.Application


def build_edge(settings: EdgeProcessSettings, *, open_relays: Path | None = None) -> Edge:
    """Create the parts of the process; nothing is started or connected.

    Args:
        settings: The settings.
        open_relays: For development, the file that stores the relays that register: any relay may, and look-ups need
            no token. None in production.

    Raises:
        SettingsError: As `kafka_connection`, or the file of relays cannot be used.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # -- the library lacks its annotation
    registry, connection = CollectorRegistry(), kafka_connection(settings)
    relays = _known_relays(settings, open_relays)
    metrics, request_metrics = EdgeMetrics(registry), RequestMetrics(registry)
    ProcessMetrics(registry, version=version("projectkeys"), dropped_lines=lambda: LineWriter.dropped)
    source = _project_keys(settings, connection)
    keys, unknown = ClientKeys(source), UnknownKeys(source)
    TableMetrics(registry, source, lambda: len(unknown))
    server = build_server(settings, request_metrics, _health(source), body_limit=BODY_LIMIT)
    producer = PlainProducer(connection, settings.outcomes_topic, request_timeout=settings.kafka_request_timeout)
    requests = RelayRequests(
        relays,
        Challenges(relay_secret := RotatingSecret(settings.relay_secret or secrets.token_hex())),
        ProjectConfigs(keys, unknown, settings.edge_features, metrics),
        Outcomes(producer, metrics),
        metrics,
    )
    authorization = Authorization(keys, unknown, RateWindows(), metrics, fails_open=settings.edge_fail_open)
    token = EdgeToken(edge_token := RotatingSecret(settings.edge_token))
    lookups = Lookups(source, token, is_open=open_relays is not None)
    watch_secrets = partial(watch, settings, {"relay_secret": relay_secret, "edge_token": edge_token})
    background: dict[str, Work] = {"relays": relays.watch, "secrets": watch_secrets}
    app = create_edge_app(server.state, background, requests, authorization, lookups, token)
    return Edge(settings, registry, source, producer, server, app)


def _known_relays(settings: EdgeProcessSettings, open_relays: Path | None) -> KnownRelays:
    file = settings.relay_public_keys_file
    try:
        if file:
            return KnownRelays(Path(file))
        return KnownRelays(open_relays, registers_any=open_relays is not None)
    except RelaysFileError as error:
        raise SettingsError(f"RELAY_PUBLIC_KEYS_FILE: {error}") from None


def _project_keys(settings: EdgeProcessSettings, connection: KafkaConnection) -> ProjectKeys:
    return ProjectKeys(
        topic=settings.kafka_topic,
        snapshot=settings.edge_snapshot or None,
        snapshot_max_age=None,
        serve_outdated_snapshot=True,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        read_security=connection.security_options,
    )


def _health(keys: ProjectKeys) -> Health:
    """Return the checks: without Kafka the edge remains ready, because its last state is better than none."""

    async def check() -> dict[str, str]:
        return {
            "table": "ok" if keys.is_complete else "the topic is being read",
            "kafka": keys.problem or "ok",
        }

    async def before_scrape() -> None:
        """Do nothing: the metrics are collected from memory."""

    return Health(checks=check, required=frozenset({"table"}), before_scrape=before_scrape)


@asynccontextmanager
async def edge_running(edge: Edge) -> AsyncIterator[HttpServer]:
    """Read the topic and serve both ports until the end of the block; then complete the requests in progress.

    Raises:
        PortTakenError: A port is in use.
    """
    apps = {Port("EDGE_PORT", edge.settings.edge_port): edge.app}
    try:
        async with edge.keys, open_ports(edge.settings, edge.server, edge.registry, apps):
            yield edge.server
    finally:
        await edge.producer.close()


async def serve_edge(edge: Edge) -> None:
    """Serve until SIGTERM or SIGINT, then shut down in order.

    Raises:
        PortTakenError: A port is in use.
    """
    gc.set_threshold(10_000)  # with Python's 700, a sixth of the time for loading keys is garbage collection
    stop, settings = stop_signal(), edge.settings
    async with edge_running(edge) as server:
        _log.info("edge_serving", port=server.ports["EDGE_PORT"], ops_port=server.ports["OPS_PORT"])
        await serve_until_stopped(settings, server, stop)


async def create_outcomes_topic(settings: EdgeProcessSettings) -> None:
    """Create the topic of outcomes unless it exists, for an embedded Kafka.

    Raises:
        KafkaUnavailableError: Kafka is unreachable.
    """
    client = KafkaClient(kafka_connection(settings), request_timeout=settings.kafka_request_timeout)
    try:
        await client.create_topic(settings.outcomes_topic, partitions=1, replication_factor=1, config={})
    finally:
        await client.close()
