"""Executes the commands that build and run clients."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from testkit.processes import ROOT, Process, running

BUILD_ENVIRONMENT: Final = {"CARGO_TARGET_DIR": str(ROOT / ".cache" / "cargo-target")}
"""Cargo's projects share no compiled libraries by default, and compiling librdkafka takes minutes."""

_BUILD_TIMEOUT: Final = 2400.0  # seconds; OpenTofu and the collector are compiled from their sources
_RUN_TIMEOUT: Final = 240.0
_PROGRESS_INTERVAL: Final = 20.0
_SHOWN: Final = 4000
"""Characters of the output in an error; the log has all of it."""


class ClientError(Exception):
    """A client cannot be built, or does not work as expected."""


def report(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a program's output


async def execute(commands: Sequence[str], directory: Path) -> None:
    """Execute shell commands in a directory, with this process's environment; report the progress of slow ones.

    Raises:
        ClientError: One failed, or they did not end in 40 minutes.
    """
    log = directory / "build.log"
    started_at = time.monotonic()
    async with running(
        ["/bin/sh", "-exc", "\n".join(commands)], environment={**os.environ, **BUILD_ENVIRONMENT}, output=log
    ) as process:
        status = None
        while process.running and (elapsed := time.monotonic() - started_at) < _BUILD_TIMEOUT:
            status = await process.wait_for_exit(timeout=_PROGRESS_INTERVAL)
            if status is None:
                report(f"  {elapsed + _PROGRESS_INTERVAL:.0f} s: {_last_line(process)}")
        if process.exit_status != 0:
            raise ClientError(f"the build ended with {process.exit_status}; {log} has:\n{process.output[-_SHOWN:]}")


def _last_line(process: Process) -> str:
    return next(reversed(process.output.splitlines()), "")[:80]


async def run_program(command: str, directory: Path, variables: Mapping[str, str]) -> list[str]:
    """Run a client's program; return the lines of its standard output.

    Raises:
        ClientError: It ended with another status than 0, or did not end in four minutes.
    """
    for name in ("output.log", "errors.log"):
        (directory / name).unlink(missing_ok=True)
    async with running(
        ["/bin/sh", "-c", f"exec {command}"],
        environment={**os.environ, **variables},
        output=directory / "output.log",
        errors=directory / "errors.log",
    ) as process:
        status = await process.wait_for_exit(timeout=_RUN_TIMEOUT)
        if status != 0:
            text = f"{process.output[-_SHOWN:]}\n{process.errors[-_SHOWN:]}"
            raise ClientError(f"it ended with {status} after:\n{text}")
        return process.output.splitlines()
