"""A process that serves HTTP: the API, the operations port, signals, and a shutdown that loses no request."""

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
import uvloop
from aiohttp import web

from service.app import Service, check_dependencies, ingest_from, publishing, update_outbox_metrics
from service.concurrency.supervisor import supervised
from service.contract.asyncapi import Topic
from service.domain.partitioning import SHARDS
from service.http.application import create_app
from service.http.ops import Health, create_ops_app
from service.http.serializers import KeySerializer
from service.http.server.admission import AdmissionControl
from service.http.server.arriving_bodies import ArrivingBodies
from service.http.server.connection import ServerRunner
from service.http.server.deadlines import Deadlines
from service.http.server.new_connections import NewConnections
from service.http.server.rate_limit import RateLimiter
from service.http.server.state import ServerState
from service.http.server.unsent_responses import UnsentResponses
from service.kafka.topic import TOPIC_CONFIG
from service.settings import Settings

_log = structlog.get_logger(__name__)

_RELEASE_TIMEOUT: Final = 10.0
"""Seconds of SHUTDOWN_TIMEOUT that are reserved for the release of the shards; requests in progress have the rest."""

_RESERVED_DESCRIPTORS: Final = 64
"""File descriptors that are reserved for the log and for Kafka."""

_OPS_CONNECTIONS: Final = 32
"""Connections of the operations port, and slots of its requests; probes and Prometheus need a few."""

_POLL_INTERVAL: Final = 0.02
"""Seconds between two checks for requests in progress."""

_LINGER_TIMEOUT: Final = 1.0
"""Seconds in which the last bytes of a response are sent at shutdown, or a rejected body is received."""

_GC_THRESHOLDS: Final = (50_000, 50, 100)
"""Arguments of `gc.set_threshold`. Requests create no cycles; the defaults reduce the throughput by a tenth."""

_BACKLOG: Final = 1024
"""Connections that may wait to be accepted; clients open many at the same time."""


class PortTakenError(Exception):
    """A port is in use; the message names the setting that changes it."""


@dataclass(frozen=True, slots=True)
class HttpServer:
    """The HTTP part of a process."""

    state: ServerState
    health: Health


async def serve(
    service: Service, *, create_topic: bool = False, api: bool = True, publish: bool = True
) -> None:
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
        _log.info("serving", port=settings.port if api else None, ops_port=settings.ops_port)
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await stop.wait()
        await drain(server, stop, delay=settings.shutdown_delay)
        end_by_force(after=settings.shutdown_timeout)


def end_by_force(*, after: float) -> None:
    """End the process by SIGALRM after ``after`` seconds, even if a thread or a DNS lookup blocks it.

    No event is lost: other processes take over its shards.
    """
    signal.setitimer(signal.ITIMER_REAL, after)


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def drain(server: HttpServer, stop: asyncio.Event, *, delay: float) -> None:
    """Serve for ``delay`` seconds while readiness fails, so that load balancers react; a second signal skips this."""
    _log.info("stopping", after=delay)
    server.health.stopping = True
    server.state.draining = True
    stop.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(delay):
            await stop.wait()


@asynccontextmanager
async def listening(service: Service, *, api: bool = True) -> AsyncIterator[HttpServer]:
    """Serve both ports until the end of the block; then complete the requests in progress.

    Raises:
        PortTakenError: A port is in use.
    """
    settings, server = service.settings, build_http(service)
    app = build_app(service, server.state)
    runner = _runner(settings, app, server.state, connections=_max_connections(settings))
    # The operations port has its own limits: load on the API must not fail a liveness probe.
    ops_state = _build_state(service, _OPS_CONNECTIONS, _OPS_CONNECTIONS)
    ops_app = create_ops_app(server.health, service.registry)
    ops = _runner(settings, ops_app, ops_state, connections=_OPS_CONNECTIONS)
    async with supervised("ops admission", ops_state.admission.run, service.request_metrics.restarts):
        try:
            if api:
                await _listen(runner, settings.host, settings.port, "PORT")
            await _listen(ops, settings.host, settings.ops_port, "OPS_PORT")
            yield server
        finally:
            await _finish(runner, service, server.state)
            # The operations port closes last: a liveness probe that cannot connect would report a dead process.
            await runner.cleanup()
            ops_state.admission.close()
            await ops.cleanup()


def build_http(service: Service) -> HttpServer:
    """Create the HTTP part of a process; nothing is started."""
    health = Health(
        checks=lambda: check_dependencies(service),
        required=frozenset({"postgres"}),
        before_scrape=lambda: update_outbox_metrics(service),
    )
    settings, metrics = service.settings, service.request_metrics
    state = _build_state(service, settings.max_requests, settings.max_new_connections)
    metrics.in_flight.set_function(lambda: state.admission.in_flight)
    metrics.unsent.set_function(lambda: state.unsent.size)
    return HttpServer(state, health)


def _build_state(service: Service, max_requests: int, max_new_connections: int) -> ServerState:
    settings, aborted = service.settings, service.request_metrics.aborted
    admission = AdmissionControl(max_requests)
    return ServerState(
        admission=admission,
        arriving=ArrivingBodies(settings.arriving_limit, admission),
        unsent=UnsentResponses(
            settings.unsent_limit, settings.send_timeout, lambda reason: aborted.labels(reason).inc()
        ),
        new_connections=NewConnections(
            max_new_connections,
            settings.header_timeout,
            lambda: aborted.labels("max_new_connections").inc(),
        ),
        rate_limiter=RateLimiter(max_requests),
        deadlines=Deadlines(settings.request_timeout),
        metrics=service.request_metrics,
        body_timeout=settings.body_timeout,
        body_limit=settings.body_limit,
        links_base=settings.links_base,
    )


def build_app(service: Service, state: ServerState) -> web.Application:
    """Create the application of the API."""
    topic = Topic(service.settings.kafka_topic, SHARDS, TOPIC_CONFIG)
    serializer = KeySerializer(ingest_from(service.settings))
    return create_app(state, service.use_cases, serializer, topic)


def _runner(
    settings: Settings, app: web.Application, state: ServerState, *, connections: int
) -> ServerRunner:
    return ServerRunner(
        app,
        state,
        max_connections=connections,
        access_log=None,
        auto_decompress=False,  # a compressed body is rejected, not decompressed
        keepalive_timeout=settings.keepalive_timeout,
        lingering_time=_LINGER_TIMEOUT,
        shutdown_timeout=_LINGER_TIMEOUT,
    )


def _max_connections(settings: Settings) -> int:
    """Return MAX_CONNECTIONS, or less if the limit of open files is too small for it."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = _RESERVED_DESCRIPTORS + _OPS_CONNECTIONS + settings.database_pool_size
    return max(1, min(settings.max_connections, allowed - reserved))


async def _finish(runner: web.AppRunner, service: Service, state: ServerState) -> None:
    """Close the listening sockets and wait for the requests in progress, before `runner.cleanup` stops reading."""
    # Closing a listening socket resets the connections in its backlog, so they are accepted first.
    await asyncio.sleep(_POLL_INTERVAL)
    for site in runner.sites:
        await site.stop()
    service.use_cases.acknowledgements.stop()
    state.admission.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(service.settings.shutdown_timeout - _RELEASE_TIMEOUT):
            while state.admission.in_flight or len(state.unsent):
                await asyncio.sleep(_POLL_INTERVAL)


async def _listen(runner: web.AppRunner, host: str, port: int, setting: str) -> None:
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
    except OSError as error:
        raise _port_taken(port, setting, error) from None


def check_ports_free(settings: Settings) -> None:
    """Check that both ports are free, before the start of parts that take seconds.

    Raises:
        PortTakenError: A port is in use.
    """
    for setting, port in (("PORT", settings.port), ("OPS_PORT", settings.ops_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError as error:
                raise _port_taken(port, setting, error) from None


def _port_taken(port: int, setting: str, error: OSError) -> PortTakenError:
    reason = os.strerror(error.errno or 0).lower()
    return PortTakenError(f"{setting}: the server cannot listen on port {port} ({reason}); set another port.")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` on uvloop until it ends; raise the limit of open files, as each connection needs one."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
