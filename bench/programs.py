"""Runs programs and waits for their exit: tools, and measurements in processes of their own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import orjson

_MAX_SHOWN: Final = 1000
"""Characters of the start and of the end of a program's standard error in an exception."""


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
