"""Processes with an explicit environment, which the kernel kills when their parent exits."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from projectkeys_servers import launch

ROOT: Final = Path(__file__).parents[1]
"""The checkout."""

_KILL_TIMEOUT: Final = 10.0
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_POLL_INTERVAL: Final = 0.02


class Process:
    """A running program.

    Args:
        command: The program's absolute path and its arguments.
        environment: All variables of the program beside PATH and PYTHONPATH.
        output: The file that standard output is appended to; its directory becomes the working directory.
        errors: The same for standard error; ``output`` by default.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
    ) -> None:
        self._files = (output, errors or output)
        # The kernel kills the program when this process exits.
        wrapper = [sys.executable, launch.__file__, str(int(signal.SIGKILL)), str(os.getpid()), ""]
        with output.open("ab") as stdout, self._files[1].open("ab") as stderr:
            self._process = subprocess.Popen(
                [*wrapper, *command],
                cwd=output.parent,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Standard output so far."""
        return self._files[0].read_text(errors="replace")

    @property
    def errors(self) -> str:
        """Standard error so far, log lines included."""
        return self._files[1].read_text(errors="replace")

    @property
    def exit_status(self) -> int | None:
        """The exit status; None while the process runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether the process has not exited."""
        return self.exit_status is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; does nothing after the process has exited."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait for the exit."""
        self._process.kill()
        self._process.wait(_KILL_TIMEOUT)

    async def wait_for_exit(self, *, timeout: float) -> int | None:
        """Return the exit status, or None if the process still runs after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.running and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_INTERVAL)
        return self.exit_status

    def resident_memory(self) -> int:
        """Return the resident memory in bytes; 0 after the exit."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except OSError:
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def open_descriptors(self) -> int:
        """Return the number of open file descriptors; 0 after the exit."""
        try:
            return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        except OSError:
            return 0


@asynccontextmanager
async def running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: Path,
    errors: Path | None = None,
    stop_timeout: float = 0.0,
) -> AsyncIterator[Process]:
    """Run a program during the block; parameters as `Process`.

    At the end of the block it gets SIGTERM and ``stop_timeout`` seconds, and SIGKILL after that.
    """
    process = Process(command, environment=environment, output=output, errors=errors)
    try:
        yield process
    finally:
        if stop_timeout:
            process.signal(signal.SIGTERM)
            await process.wait_for_exit(timeout=stop_timeout)
        process.kill()


def pause(pid: int) -> None:
    """Stop a process by SIGSTOP: it keeps its connections and does not respond."""
    os.kill(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Continue a paused process; does nothing if it has exited."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


def cpu_seconds(root: int) -> float:
    """Return the processor seconds used by a process and its descendants, exited ones included."""
    children: dict[int, list[int]] = defaultdict(list)
    used: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it exited meanwhile
            # The name, in brackets, may contain any character; the state and the parent follow it.
            rest = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            children[int(rest[1])].append(pid)
            used[pid] = sum(map(int, rest[11:15]))  # utime, stime, and both of the children waited for
    pending, total = [root], 0
    while pending:
        pid = pending.pop()
        total += used.get(pid, 0)
        pending += children[pid]
    return total / _CLOCK_TICKS
