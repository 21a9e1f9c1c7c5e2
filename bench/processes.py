"""The processes that take part: started, asked, and charged for what they use."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson

from service.dev import launch

_STOP_WITHIN: Final = 20.0
_COMPLAINT: Final = 1000  # characters of its beginning and of its end
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The run cannot go on; the text tells a person why."""


async def output_of(
    *command: str, environment: Mapping[str, str] | None = None, given: bytes = b"", limit: float = 60.0
) -> str:
    """What a program prints.

    Args:
        *command: the program and its arguments.
        environment: variables on top of this process's.
        given: what it reads.
        limit: seconds until it is killed.

    Raises:
        BenchError: it failed, or did not end in time.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | (environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit):
            printed, complaint = await process.communicate(given)
    except TimeoutError:
        raise BenchError(f"{' '.join(command)} did not end within {limit:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        words = complaint.decode(errors="replace").strip()
        shown = words if len(words) < 2 * _COMPLAINT else f"{words[:_COMPLAINT]}\n...\n{words[-_COMPLAINT:]}"
        raise BenchError(f"{' '.join(command)} failed:\n{shown}")
    return printed.decode()


async def result_of(module: str, plan: object, *, limit: float) -> dict[str, Any]:
    """What a module of this package makes of a plan, in a process of its own.

    Raises:
        BenchError: it failed, or did not end within ``limit`` seconds.
    """
    result: dict[str, Any] = orjson.loads(
        await output_of(sys.executable, "-m", module, given=orjson.dumps(plan), limit=limit)
    )
    return result


@asynccontextmanager
async def running(command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> AsyncIterator[int]:
    """A server for the time of the block; gives its process id.

    Args:
        command: the program's absolute path and its arguments.
        environment: variables on top of this process's.
        log: the file that its output is appended to.
    """
    tied = [sys.executable, launch.__file__, str(int(signal.SIGKILL)), str(os.getpid()), ""]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *tied, *command, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()


def cpu_seconds(root: int) -> float:
    """Processor seconds that a process and all below it have used, those that have ended included."""
    children: dict[int, list[int]] = defaultdict(list)
    used: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # The name before the bracket may hold anything; behind it stand the state, the parent and so on.
            rest = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            children[int(rest[1])].append(pid)
            used[pid] = sum(map(int, rest[11:15]))  # utime, stime, and both of the children waited for
    family, found = [root], 0
    while family:
        pid = family.pop()
        found += used.get(pid, 0)
        family += children[pid]
    return found / _TICKS
