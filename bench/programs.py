"""Runs programs: tools, measurements in processes of their own, and servers that are baselines."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from projectkeys_servers.ports import free_port
from testkit.http_client import NotSentError, request
from testkit.polling import poll_until
from testkit.processes import Process, running

_MAX_SHOWN: Final = 1000
"""Characters of the start and of the end of a program's standard error in an exception."""


_READY_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 20.0


class BenchError(Exception):
    """The run cannot continue; the text states the reason."""


async def run_program(
    *command: str,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float = 60.0,
) -> str:
    """Run a program and return its standard output.

    Args:
        *command: The program and its arguments.
        environment: Variables in addition to those of this process.
        stdin: Its standard input.
        timeout: Seconds until it is killed.

    Raises:
        BenchError: It failed or did not exit in time.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | (environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout):
            output, errors = await process.communicate(stdin)
    except TimeoutError:
        raise BenchError(f"{' '.join(command)} did not exit within {timeout:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        text = errors.decode(errors="replace").strip()
        shown = text if len(text) < 2 * _MAX_SHOWN else f"{text[:_MAX_SHOWN]}\n...\n{text[-_MAX_SHOWN:]}"
        raise BenchError(f"{' '.join(command)} failed:\n{shown}")
    return output.decode()


async def run_worker(module: str, plan: object, *, timeout: float) -> dict[str, Any]:
    """Run a module of this package with a plan (see `bench.worker`) and return its result.

    Raises:
        BenchError: It failed or did not exit within ``timeout`` seconds.
    """
    output = await run_program(sys.executable, "-m", module, stdin=orjson.dumps(plan), timeout=timeout)
    result: dict[str, Any] = orjson.loads(output)
    return result


@asynccontextmanager
async def start_server(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path
) -> AsyncIterator[tuple[Process, int]]:
    """Run a program that serves HTTP during the block; yield its process and its port.

    Args:
        command: The program and its arguments; the port is added.
        environment: Its variables.
        log: The file of its output.

    Raises:
        BenchError: It does not respond in time, or exited.
    """
    port = free_port()

    def unready() -> BenchError:
        return BenchError(f"{log.stem}: no response after {_READY_TIMEOUT:.0f} s:\n{log.read_text()[-_MAX_SHOWN:]}")

    async with running(
        [*command, str(port)], environment=environment, output=log, stop_timeout=_STOP_TIMEOUT
    ) as process:

        async def responds() -> bool:
            if not process.running:
                raise unready()
            try:
                await request(port, "GET", "/")
            except NotSentError:
                return False
            return True

        await poll_until(responds, timeout=_READY_TIMEOUT, interval=0.05, error=unready)
        yield process, port
