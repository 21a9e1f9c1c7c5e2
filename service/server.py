"""A process that serves: two ports, signals, and a stop that loses nothing."""

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog
import uvloop
from aiohttp import web

from service.app import Service, create_app, publishing
from service.http.ops import create_ops_app
from service.http.server.connection import ApiRunner
from service.settings import Settings

_log = structlog.get_logger(__name__)

_HAND_OVER: Final = 10.0
"""Seconds of SHUTDOWN_TIMEOUT that are kept for handing over the shards; requests under way have the rest."""

_OWN_DESCRIPTORS: Final = 64
"""Those of the log, of Kafka's brokers, of the operators' port: callers must not use them up."""

_LOOK_EVERY: Final = 0.02
"""Seconds between two looks whether the last request is answered."""

_FAREWELL: Final = 1.0
"""Seconds for the last bytes of an answer, and for a refused body that still arrives."""

_GC_THRESHOLDS: Final = (50_000, 50, 100)
"""Collections cost a tenth of the throughput at Python's defaults; requests leave no cycles behind."""


_BACKLOG: Final = 1024
"""Connections that may wait to be accepted: clients open many at once."""


class PortTakenError(Exception):
    """A port is in use; the message says which setting changes it."""


async def serve(
    service: Service, *, create_topic: bool = False, api: bool = True, publish: bool = True
) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order.

    Args:
        service: the parts.
        create_topic: create the topic where it is missing.
        api: False publishes alone, with the operators' port only.
        publish: False leaves the events to other processes.

    Raises:
        PortTakenError: somebody else listens there.
    """
    stop = stop_signal()
    async with (
        publishing(service, create_topic=create_topic, publish=publish),
        listening(service, api=api),
    ):
        _log.info("serving", port=service.settings.port if api else None, ops_port=service.settings.ops_port)
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await stop.wait()
        await drain(service, stop)
        end_by_force(after=service.settings.shutdown_timeout)


def end_by_force(*, after: float) -> None:
    """Have the kernel end the process in ``after`` seconds, whatever holds it up then: a thread, a resolver.

    Nothing is lost by it: what was not handed over is taken over.
    """
    signal.setitimer(signal.ITIMER_REAL, after)


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def drain(service: Service, stop: asyncio.Event) -> None:
    """Serve on, unready, until routers have noticed; a second signal ends the wait."""
    delay = service.settings.shutdown_delay
    _log.info("stopping", after=delay)
    service.health.stopping = True
    service.api.draining = True
    stop.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(delay):
            await stop.wait()


@asynccontextmanager
async def listening(service: Service, *, api: bool = True) -> AsyncIterator[None]:
    """Both ports, until the end of the block; requests under way are finished then.

    Raises:
        PortTakenError: somebody else listens there.
    """
    settings = service.settings
    ops = web.AppRunner(create_ops_app(service.health, service.registry), access_log=None)
    runner = ApiRunner(
        create_app(service.api),
        connections=_connections(settings),
        access_log=None,
        auto_decompress=False,  # a compressed body is refused, not unpacked
        keepalive_timeout=settings.keepalive_timeout,
        lingering_time=_FAREWELL,
        shutdown_timeout=_FAREWELL,
    )
    try:
        if api:
            await _listen(runner, settings.host, settings.port, "PORT")
        await _listen(ops, settings.host, settings.ops_port, "OPS_PORT")
        yield
    finally:
        await _finish(runner, service)
        # The operators' port goes last: a probe that finds nobody would call a stopping process dead.
        await runner.cleanup()
        await ops.cleanup()


def _connections(settings: Settings) -> int:
    """As many as are asked for, if the process may have so many descriptors besides its own."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(settings.max_connections, allowed - _OWN_DESCRIPTORS - settings.database_pool_size))


async def _finish(runner: web.AppRunner, service: Service) -> None:
    """Accept no more and wait for what is under way: the runner's own end throws away bytes that still arrive."""
    # On a busy loop the time to stop comes before the look at the ports: who has connected by then would be reset.
    await asyncio.sleep(_LOOK_EVERY)
    for site in runner.sites:
        await site.stop()
    service.api.acknowledgements.give_up()
    service.api.admission.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(service.settings.shutdown_timeout - _HAND_OVER):
            while service.api.admission.taken or len(service.api.unsent):
                await asyncio.sleep(_LOOK_EVERY)


async def _listen(runner: web.AppRunner, host: str, port: int, setting: str) -> None:
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
    except OSError as error:
        raise _taken(port, setting, error) from None


def check_ports_free(settings: Settings) -> None:
    """Say that a port is taken before anything slow has been started.

    Raises:
        PortTakenError: somebody listens there.
    """
    for setting, port in (("PORT", settings.port), ("OPS_PORT", settings.ops_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError as error:
                raise _taken(port, setting, error) from None


def _taken(port: int, setting: str, error: OSError) -> PortTakenError:
    reason = os.strerror(error.errno or 0).lower()
    return PortTakenError(
        f"Port {port} cannot be listened on ({reason}): choose another by {setting}, for example "
        f"{setting}={port + 100}."
    )


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` on uvloop to its end.

    Each connection is a descriptor, of which shells allow a process far fewer than it may have.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
