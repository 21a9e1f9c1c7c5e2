"""`projectkeys dev` as a process: what `make run` starts."""

import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from projectkeys_servers.ports import free_port
from testkit.polling import poll_until
from testkit.processes import running

_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 15.0


@asynccontextmanager
async def dev_service(
    directory: Path,
    *,
    database_url: str,
    bootstrap_servers: str,
    topic: str = "project-keys",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Mapping[str, str]]:
    """Run `projectkeys dev` on free ports and these servers during the block; ``settings`` are further ones.

    Yields:
        The variables of its environment file.

    Raises:
        AssertionError: It exited, or is not ready after a minute.
    """
    file = directory / ".data" / "dev.env"
    environment = {
        "PORT": str(free_port()),
        "OPS_PORT": str(free_port()),
        "EDGE_PORT": "0",
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC": topic,
        **settings,
    }
    command = [sys.executable, "-m", "service", "dev"]
    async with running(
        command, environment=environment, output=directory / "dev.log", stop_timeout=_STOP_TIMEOUT
    ) as process:

        def is_ready() -> bool:
            assert process.running, process.output
            return file.exists() and "Ctrl-C" in process.output

        await poll_until(is_ready, timeout=_START_TIMEOUT)
        yield parse_environment_file(file)


def parse_environment_file(file: Path) -> dict[str, str]:
    """Return the variables of a file of shell assignments."""
    pairs = (line.partition("=") for line in file.read_text().splitlines())
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}
