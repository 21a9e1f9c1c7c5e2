"""`dev`: runs PostgreSQL, Kafka and the service on this machine, with an example project and a token."""

import argparse
import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from projectkeys_servers import lock
from projectkeys_servers.errors import EmbeddedServerError
from service.app import build, publishing
from service.cli.commands import (
    Commands,
    add_command,
    command_line_origin,
    print_error,
    print_lines,
)
from service.cli.dev_edge import dev_edge
from service.command_app import connect_database, create_topic
from service.domain.errors import CommandError, MovedError, NotFoundError, TokenInvalidError
from service.domain.model import NewOrganization, NewProject
from service.domain.scopes import SCOPES
from service.edge.process import create_outcomes_topic
from service.environment import changed, read
from service.process import Port, check_ports_free, drain, run, stop_signal
from service.server import listening
from service.settings import Settings
from service.usecases.migrations import Migrations
from service.usecases.tokens import Tokens
from service.usecases.use_cases import UseCases

if TYPE_CHECKING:
    from projectkeys_servers.servers import Servers

_ORGANIZATION: Final = "the-interstellar-jurisdiction"
_PROJECT: Final = "pump-station"
_LOCAL_ADDRESSES: Final = ("127.0.0.1", "::1")
_DATA: Final = Path(".data")
_CACHE: Final = Path(".cache")
_ENVIRONMENT: Final = "dev.env"
_LOCK_TIMEOUT: Final = 0.5  # seconds
_SECOND_RUN: Final = (
    "Stop it with Ctrl-C, or run a second one beside it: EPHEMERAL=1 PORT=0 OPS_PORT=0 make run, in a shell without "
    "the variables of dev.env."
)
_SERVER_SETTINGS: Final = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS")


def add_to(commands: Commands) -> None:
    """Declare the command."""
    add_command(
        commands,
        "dev",
        summary="run PostgreSQL, Apache Kafka, the API, the publisher and an edge on this machine",
        example="PORT=9000 projectkeys dev\n"
        "  EPHEMERAL=1 projectkeys dev                    # delete all data at the end\n"
        "  DATABASE_URL=postgresql://… projectkeys dev    # use this Postgres instead of an embedded one",
        run=_run,
    )


def _run(_options: argparse.Namespace) -> int:
    settings = _with_local_addresses(read(Settings))
    _import_embedded_servers()
    try:
        run(settings, lambda: _dev(settings))
    except EmbeddedServerError as error:
        raise CommandError(str(error)) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    return 0


def _with_local_addresses(settings: Settings) -> Settings:
    """Return ``settings`` with local addresses unless HOST is set: other machines must not reach the service."""
    return settings if _is_set("HOST") else replace(settings, host=_LOCAL_ADDRESSES)


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def _import_embedded_servers() -> Callable[..., AbstractAsyncContextManager["Servers"]]:
    try:
        from projectkeys_servers.servers import embedded_servers  # noqa: PLC0415 -- needs an extra, absent in production
    except ModuleNotFoundError as error:
        raise CommandError(f"the package {error.name} is missing: run `pip install 'projectkeys[dev]'`") from None
    return embedded_servers


async def _dev(configured: Settings) -> None:
    _cancel_on_signals()
    ports = (Port("PORT", configured.port), Port("OPS_PORT", configured.ops_port))
    async with _data_directory() as data:
        check_ports_free(configured.host, ports)
        (data / _ENVIRONMENT).unlink(missing_ok=True)  # a killed process leaves it
        async with _servers(configured, data) as settings:
            await asyncio.gather(_migrate(settings), create_topic(settings))
            if not _is_set("KAFKA_BOOTSTRAP_SERVERS"):
                await create_outcomes_topic(settings)
            service = build(settings)
            async with publishing(service, check_topic=False):
                token = await _provision(service.use_cases, data / "token")
                async with listening(service) as server, dev_edge(settings, data) as urls:
                    stop = stop_signal()
                    environment = {**_environment(settings.with_ports(server.ports), token), **urls}
                    with _environment_file(data, environment) as path:
                        print_lines(_banner(environment, path))
                        await stop.wait()
                        await drain(server, stop, delay=settings.shutdown_delay)


def _cancel_on_signals() -> None:
    """Make SIGTERM and SIGINT cancel the startup, which stops the servers that were started."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


@asynccontextmanager
async def _data_directory() -> AsyncIterator[Path]:
    """Lock `.data`, or with EPHEMERAL=1 a temporary directory that is deleted at the end of the block.

    Raises:
        EmbeddedServerError: Another process uses the directory.
    """
    is_ephemeral = os.environ.get("EPHEMERAL", "0") not in {"", "0"}
    data = Path(tempfile.mkdtemp(prefix="projectkeys-")) if is_ephemeral else _DATA.absolute()
    try:
        descriptor = await lock.take(data, limit=_LOCK_TIMEOUT)
    except EmbeddedServerError as error:
        raise EmbeddedServerError(f"{error} {_SECOND_RUN}") from None
    try:
        yield data
    finally:
        if is_ephemeral:
            shutil.rmtree(data, ignore_errors=True)
        os.close(descriptor)


@asynccontextmanager
async def _servers(settings: Settings, data: Path) -> AsyncIterator[Settings]:
    """Start embedded servers unless the settings name others; return the settings with the servers' addresses."""
    kafka_is_set = _is_set("KAFKA_BOOTSTRAP_SERVERS")
    async with _import_embedded_servers()(
        data,
        cache_dir=_CACHE.absolute(),
        report=print_error,
        postgres=not settings.database_url,
        kafka=not kafka_is_set,
    ) as servers:
        yield replace(
            settings,
            usage=settings.usage or not _is_set("USAGE"),
            shutdown_delay=settings.shutdown_delay if _is_set("SHUTDOWN_DELAY") else 0.0,
            database_url=settings.database_url or servers.postgres.url,
            kafka_bootstrap_servers=settings.kafka_bootstrap_servers
            if kafka_is_set
            else (servers.kafka.bootstrap_servers,),
        )


async def _migrate(settings: Settings) -> None:
    async with connect_database(settings) as database:
        await Migrations(database).apply()


async def _provision(use_cases: UseCases, token_file: Path) -> str:
    """Create the organization, its project and a token with all scopes unless they exist; return the token."""
    organizations, projects = use_cases.organizations, use_cases.projects
    origin = command_line_origin()
    try:
        organization = await organizations.get(_ORGANIZATION)
    except NotFoundError:
        new = NewOrganization("The Interstellar Jurisdiction", _ORGANIZATION)
        organization, _ = await organizations.create(new, origin)
    try:
        await projects.get(_ORGANIZATION, _PROJECT)
    except (NotFoundError, MovedError):
        await projects.create(organization, NewProject("Pump Station", _PROJECT), origin)
    return await _token(use_cases.tokens, token_file)


async def _token(tokens: Tokens, file: Path) -> str:
    """Return the token in ``file`` if the database has it; otherwise create one and write it to ``file``."""
    if stored := _read(file):
        with suppress(TokenInvalidError):
            await tokens.authenticate(stored)
            return stored
    token = await tokens.create("dev", scopes=SCOPES)
    _write(file, f"{token}\n")
    return token


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text)


@contextmanager
def _environment_file(data: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Write a file of shell variables for a second terminal; it is deleted at the end of the block."""
    path = data / _ENVIRONMENT
    _write(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items()))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _environment(settings: Settings, token: str) -> dict[str, str]:
    return {
        "API_URL": settings.links_base,
        "OPS_URL": settings.local_url(settings.ops_port),
        "TOKEN": token,
        "ORG": _ORGANIZATION,
        "PROJECT": _PROJECT,
        **changed(settings),
    }


def _banner(variables: dict[str, str], path: Path) -> str:
    given = [name for name in _SERVER_SETTINGS if _is_set(name)]
    note = f"Servers  from the environment: {', '.join(given)}\n" if given else ""
    console = f"Console  {variables['API_URL']}/console/\n" if "CONSOLE" not in variables else ""
    return f"""
{console}API      {variables["API_URL"]}
Ops      {variables["OPS_URL"]}  (/livez /readyz /metrics)
Edge     {variables["EDGE_URL"]}  (relays, /auth, /keys/)
Token    {variables["TOKEN"]}
{note}
Create a key:

curl -s {variables["API_URL"]}/api/0/projects/{_ORGANIZATION}/{_PROJECT}/keys/ \\
  -H 'Authorization: Bearer {variables["TOKEN"]}' -H 'Content-Type: application/json' \\
  -d '{{"name": "Fabulous Key"}}' | python3 -m json.tool

Watch the events in a second terminal:

set -a; . {path}; set +a; {Path(sys.executable).parent / "projectkeys"} events tail --from beginning

Ctrl-C stops everything.
"""
