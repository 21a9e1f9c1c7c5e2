"""What all processes that serve HTTP share: ports with their limits, signals, a shutdown that loses no request."""

import asyncio
import gc
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from service import logs
from service.concurrency.supervisor import supervised
from service.http.ops import Health, create_ops_app
from service.http.server.admission import AdmissionControl, Deadlines
from service.http.server.arriving_bodies import ArrivingBodies
from service.http.server.connection import ServerRunner
from service.http.server.new_connections import NewConnections
from service.http.server.rate_limit import RateLimiter
from service.http.server.state import ServerState
from service.http.server.unsent_responses import UnsentResponses
from service.http_settings import HttpSettings
from service.metrics import RequestMetrics
from service.settings import LogSettings
from service.sockets import listening_sockets

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


@dataclass(frozen=True, slots=True)
class HttpServer:
    """The HTTP part of a process; ``ports`` has the numbers of the open ports by the names of their settings."""

    state: ServerState
    health: Health
    ports: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Port:
    """A port and the name of the setting that changes it."""

    setting: str
    number: int


def run(settings: LogSettings, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Configure the log, raise the limit of open files, as each connection needs one, and run ``work`` on uvloop."""
    writer = logs.configure(level=settings.log_level, form=settings.log_format)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work())
    finally:
        writer.flush()


async def serve_until_stopped(settings: HttpSettings, server: HttpServer, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set, then drain; the caller closes the ports."""
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
    _log.info("stopping", delay_seconds=delay)
    server.health.stopping = True
    server.state.draining = True
    stop.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(delay):
            await stop.wait()


@asynccontextmanager
async def open_ports(
    settings: HttpSettings,
    server: HttpServer,
    registry: CollectorRegistry,
    apps: Mapping[Port, web.Application],
    *,
    descriptors: int = 0,
    stop_waiting: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    """Serve the applications and the operations port during the block; then complete the requests in progress.

    Args:
        settings: The limits.
        server: The state of the server, and its health.
        registry: The metrics of the operations port.
        apps: The application of each port.
        descriptors: File descriptors that the process needs besides those of clients.
        stop_waiting: Ends the waits of requests in progress at shutdown.

    Raises:
        SettingsError: As `listening_sockets`.
        PortTakenError: A port is in use.
    """
    connections = _max_connections(settings, descriptors)
    runners = {port: _runner(settings, app, server.state, connections) for port, app in apps.items()}
    # The operations port has its own limits: load on the other port must not fail a liveness probe.
    metrics = server.state.metrics
    ops_state = build_state(settings, metrics, _OPS_CONNECTIONS, _OPS_CONNECTIONS)
    ops = _runner(settings, create_ops_app(server.health, registry), ops_state, _OPS_CONNECTIONS)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(supervised("ops admission", ops_state.admission.run, metrics.restarts))
        try:
            opened = {**runners, Port("OPS_PORT", settings.ops_port): ops}
            for port, runner in opened.items():
                sockets = stack.enter_context(listening_sockets(settings.host, port.number, port.setting))
                server.ports[port.setting] = sockets[0].getsockname()[1]
                await runner.setup()
                for each in sockets:
                    await web.SockSite(runner, each).start()
            server.state.links_base = settings.with_ports(server.ports).links_base
            yield
        finally:
            await _finish(runners.values(), server.state, settings, stop_waiting)
            # The operations port closes last: a liveness probe that cannot connect would report a dead process.
            for runner in runners.values():
                await runner.cleanup()
            ops_state.admission.close()
            await ops.cleanup()


def build_server(settings: HttpSettings, metrics: RequestMetrics, health: Health, *, body_limit: int) -> HttpServer:
    """Create the state of a server, whose request bodies have at most ``body_limit`` bytes."""
    state = build_state(settings, metrics, settings.max_requests, settings.max_new_connections)
    state.body_limit = body_limit
    metrics.in_flight.set_function(lambda: state.admission.in_flight)
    metrics.unsent.set_function(lambda: state.unsent.size)
    return HttpServer(state, health)


def build_state(
    settings: HttpSettings, metrics: RequestMetrics, max_requests: int, max_new_connections: int
) -> ServerState:
    """Create the limits of a server."""
    admission = AdmissionControl(max_requests)
    return ServerState(
        admission=admission,
        arriving=ArrivingBodies(settings.arriving_limit, admission),
        unsent=UnsentResponses(
            settings.unsent_limit, settings.send_timeout, lambda reason: metrics.aborted.labels(reason).inc()
        ),
        new_connections=NewConnections(
            max_new_connections,
            settings.header_timeout,
            lambda: metrics.aborted.labels("max_new_connections").inc(),
        ),
        rate_limiter=RateLimiter(max_requests),
        deadlines=Deadlines(settings.request_timeout),
        metrics=metrics,
        body_timeout=settings.body_timeout,
        body_limit=settings.body_limit,
        header_limit=settings.header_limit,
        links_base=settings.links_base,
        console_origin=settings.console_origin,
    )


def _runner(settings: HttpSettings, app: web.Application, state: ServerState, connections: int) -> ServerRunner:
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


def _max_connections(settings: HttpSettings, descriptors: int) -> int:
    """Return MAX_CONNECTIONS, or less if the limit of open files is too small for it."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = _RESERVED_DESCRIPTORS + _OPS_CONNECTIONS + descriptors
    return max(1, min(settings.max_connections, allowed - reserved))


async def _finish(
    runners: Iterable[web.AppRunner],
    state: ServerState,
    settings: HttpSettings,
    stop_waiting: Callable[[], None],
) -> None:
    """Close the listening sockets and wait for the requests in progress, before `runner.cleanup` stops reading."""
    # Closing a listening socket resets the connections in its backlog, so they are accepted first.
    await asyncio.sleep(_POLL_INTERVAL)
    for runner in runners:
        for site in runner.sites:
            await site.stop()
    stop_waiting()
    state.admission.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.shutdown_timeout - _RELEASE_TIMEOUT):
            while state.admission.in_flight or len(state.unsent):
                await asyncio.sleep(_POLL_INTERVAL)


def check_ports_free(hosts: Sequence[str], ports: Iterable[Port]) -> None:
    """Check that ports are free, before the start of parts that take seconds.

    Raises:
        SettingsError: As `listening_sockets`.
        PortTakenError: A port is in use.
    """
    for port in ports:
        with listening_sockets(hosts, port.number, port.setting):
            pass
