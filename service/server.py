"""The process `projectkeys serve`: the API, the publisher and the operations port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from service.app import Service, check_dependencies, ingest_from, publishing, update_table_metrics
from service.http.application import create_app
from service.http.ops import Health
from service.http.serializers import KeySerializer
from service.process import HttpServer, Port, build_server, open_ports, serve_until_stopped, stop_signal

_log = structlog.get_logger(__name__)


async def serve(service: Service, *, create_topic: bool = False, api: bool = True, publish: bool = True) -> None:
    """Serve until SIGTERM or SIGINT, then shut down in order.

    Args:
        service: The parts of the process except for HTTP.
        create_topic: Create the topic if it does not exist.
        api: Whether to open the port of the API; the operations port is always open.
        publish: Whether to publish events; if False, other processes publish them.

    Raises:
        PortTakenError: A port is in use.
    """
    stop, settings = stop_signal(), service.settings
    async with (
        publishing(service, create_topic=create_topic, publish=publish),
        listening(service, api=api) as server,
    ):
        _log.info("serving", port=server.ports.get("PORT"), ops_port=server.ports["OPS_PORT"])
        await serve_until_stopped(settings, server, stop)


@asynccontextmanager
async def listening(service: Service, *, api: bool = True) -> AsyncIterator[HttpServer]:
    """Serve both ports until the end of the block; then complete the requests in progress.

    Raises:
        SettingsError: As `listening_sockets`.
        PortTakenError: A port is in use.
    """
    settings, server = service.settings, build_http(service)
    apps = {Port("PORT", settings.port): build_app(service, server)} if api else {}
    async with open_ports(
        settings,
        server,
        service.registry,
        apps,
        descriptors=settings.database_pool_size,
        stop_waiting=service.use_cases.acknowledgements.stop,
    ):
        yield server


def build_http(service: Service) -> HttpServer:
    """Create the HTTP part of a process; nothing is started."""
    health = Health(
        checks=lambda: check_dependencies(service),
        required=frozenset({"postgres"}),
        before_scrape=lambda: update_table_metrics(service),
    )
    settings = service.settings
    return build_server(settings, service.request_metrics, health, body_limit=settings.body_limit)


def build_app(service: Service, server: HttpServer) -> web.Application:
    """Create the application of the API."""
    settings = service.settings
    serializer = KeySerializer(ingest_from(settings))
    return create_app(server.state, server.health, service.use_cases, serializer, settings.kafka_topic)
