"""`dev`: everything on this machine, from nothing to a curl line that works."""

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

from service import logs, settings
from service.app import Service, build, kafka_connection, open_database, publishing
from service.cli.commands import Commands, add_command, command_line_origin, say
from service.domain.errors import MovedError, NotFoundError, TokenInvalidError
from service.domain.partitioning import SHARDS
from service.domain.scopes import SCOPES
from service.kafka.topic import check_topic
from service.postgres.migrate import migrate
from service.server import check_ports_free, drain, listening, run, stop_signal
from service.settings import Settings
from service.usecases.tokens import Tokens

if TYPE_CHECKING:
    from service.dev.servers import Servers

_ORGANIZATION: Final = "the-interstellar-jurisdiction"
_PROJECT: Final = "pump-station"
_LOCAL_HOST: Final = "127.0.0.1"
_DATA: Final = Path(".data")
_CACHE: Final = Path(".cache")
_ENVIRONMENT: Final = "dev.env"


def add_to(commands: Commands) -> None:
    """Declare it."""
    add_command(
        commands,
        "dev",
        summary="run everything on this machine: PostgreSQL, Apache Kafka, the API and the publisher",
        example="PORT=9000 projectkeys dev\n"
        "  EPHEMERAL=1 projectkeys dev          keep nothing\n"
        "  DATABASE_URL=postgresql://… projectkeys dev    your own Postgres instead of the embedded one",
        run=lambda _: _run(),
    )


def _run() -> int:
    read = _with_local_host(settings.read())
    _embedded_servers()
    writer = logs.configure(level=read.log_level, form=read.log_format)
    try:
        run(_dev(read))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    finally:
        writer.flush()
    return 0


def _with_local_host(read: Settings) -> Settings:
    """Return ``read``, listening on 127.0.0.1 unless HOST is set: a development service is for this machine alone."""
    is_set = os.environ.get("HOST") or os.environ.get("HOST_FILE")
    return read if is_set else replace(read, host=_LOCAL_HOST)


def _embedded_servers() -> Callable[..., AbstractAsyncContextManager["Servers"]]:
    try:
        from service.dev.servers import embedded_servers  # noqa: PLC0415 -- an extra that production goes without
    except ModuleNotFoundError as error:
        raise LookupError(
            f"{error.name} is missing: install the extra, `pip install 'projectkeys[dev]'`"
        ) from None
    return embedded_servers


async def _dev(read: Settings) -> None:
    _cancel_on_signals()
    check_ports_free(read)
    with _data_directory() as data:
        (data / _ENVIRONMENT).unlink(missing_ok=True)  # of a run that was killed
        async with _servers(read, data) as in_force:
            await asyncio.gather(_migrate(in_force), _create_topic(in_force))
            service = build(in_force)
            async with publishing(service):
                values = _environment(in_force, await _provision(service, data / "token"))
                async with listening(service):
                    stop = stop_signal()
                    with _environment_file(data, values) as path:
                        say(_banner(values, path))
                        await stop.wait()
                        await drain(service, stop)


def _cancel_on_signals() -> None:
    """Until everything runs, a signal ends the start where it stands and stops what was started."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


@contextmanager
def _data_directory() -> Iterator[Path]:
    if os.environ.get("EPHEMERAL", "0") in {"", "0"}:
        _DATA.mkdir(exist_ok=True)
        yield _DATA.absolute()
        return
    data = Path(tempfile.mkdtemp(prefix="projectkeys-"))
    try:
        yield data
    finally:
        shutil.rmtree(data, ignore_errors=True)


@asynccontextmanager
async def _servers(read: Settings, data: Path) -> AsyncIterator[Settings]:
    """The settings with the addresses of whatever had to be started."""
    own_postgres = bool(read.database_url)
    own_kafka = "KAFKA_BOOTSTRAP_SERVERS" in os.environ
    async with _embedded_servers()(
        data, cache_dir=_CACHE.absolute(), report=_report, postgres=not own_postgres, kafka=not own_kafka
    ) as servers:
        yield replace(
            read,
            shutdown_delay=read.shutdown_delay if "SHUTDOWN_DELAY" in os.environ else 0.0,
            database_url=read.database_url or servers.postgres.url,
            kafka_bootstrap_servers=read.kafka_bootstrap_servers
            if own_kafka
            else (servers.kafka.bootstrap_servers,),
        )


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a command's output


async def _migrate(in_force: Settings) -> None:
    database = open_database(in_force)
    await database.start()
    try:
        async with database.connection() as connection:
            await migrate(connection)
    finally:
        await database.close()


async def _create_topic(in_force: Settings) -> None:
    state = await check_topic(
        kafka_connection(in_force), in_force.kafka_topic, partitions=SHARDS, create=True
    )
    if state.problems:
        raise LookupError(" ".join(state.problems))


async def _provision(service: Service, kept_token: Path) -> str:
    """The organization, its project and a token with all scopes, each made if it is not there; the token."""
    api, origin = service.api, command_line_origin()
    try:
        organization = await api.organizations.get(_ORGANIZATION)
    except NotFoundError:
        organization, _ = await api.organizations.create(
            slug=_ORGANIZATION, name="The Interstellar Jurisdiction", origin=origin
        )
    try:
        await api.projects.get(_ORGANIZATION, _PROJECT)
    except (NotFoundError, MovedError):
        await api.projects.create(
            organization, slug=_PROJECT, name="Pump Station", default_key=True, origin=origin
        )
    return await _token(api.tokens, kept_token)


async def _token(tokens: Tokens, path: Path) -> str:
    kept = _read(path)
    if kept:
        with suppress(TokenInvalidError):
            await tokens.caller(kept)
            return kept
    token = await tokens.create("dev", scopes=SCOPES)
    _write(path, f"{token}\n")
    return token


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


@contextmanager
def _environment_file(data: Path, values: dict[str, str]) -> Iterator[Path]:
    """A file to `source` in a second terminal, for as long as the service runs."""
    path = data / _ENVIRONMENT
    _write(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _environment(in_force: Settings, token: str) -> dict[str, str]:
    return {
        "API_URL": in_force.links_base,
        "OPS_URL": f"http://127.0.0.1:{in_force.ops_port}",
        "TOKEN": token,
        "ORG": _ORGANIZATION,
        "PROJECT": _PROJECT,
        "DATABASE_URL": in_force.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(in_force.kafka_bootstrap_servers),
    }


def _banner(values: dict[str, str], path: Path) -> str:
    return f"""
API      {values["API_URL"]}
Ops      {values["OPS_URL"]}  (/livez /readyz /metrics)
Token    {values["TOKEN"]}

Make a key:

curl -i {values["API_URL"]}/api/0/projects/{_ORGANIZATION}/{_PROJECT}/keys/ \\
  -H 'Authorization: Bearer {values["TOKEN"]}' -H 'Content-Type: application/json' -d '{{"name": "Fabulous Key"}}'

Watch the events in a second terminal:

set -a; . {path}; set +a; {Path(sys.executable).parent / "projectkeys"} events tail --from beginning

Ctrl-C stops everything.
"""
