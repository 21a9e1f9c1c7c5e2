"""The process of a server: a child that ends with this process and writes to a log file."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from projectkeys_servers.errors import EmbeddedServerError

_LAUNCH = str(Path(__file__).with_name("launch.py"))
_POLL = 0.02  # seconds between two checks of the process
_LOG_LINES = 15  # the last lines of the log, which an error message contains
_KILL_TIMEOUT = 10.0  # seconds, until the kernel has removed a killed process


class ServerProcess:
    """The process of a server, or of a tool that prepares the server; one process at a time.

    The process runs in a session of its own, so that Ctrl-C in a terminal is sent only to the parent.

    Args:
        log: The file to which output is appended; its directory is the working directory of the process.
        death_signal: The signal that the kernel sends to the server when this process ends for any reason.
        user: The account to run as if this process is root; empty for the current account.
    """

    def __init__(self, *, log: Path, death_signal: signal.Signals, user: str = "") -> None:
        self._log = log
        self._log_start = 0
        self._death_signal = death_signal
        self._user = user
        self._name = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            RuntimeError: No process was started.
        """
        if self._process is None:
            raise RuntimeError("The server was never started.")
        return self._process.pid

    def launch(self, command: Sequence[str], *, lock: int) -> None:
        """Start a program.

        The calling thread must run as long as this process: the kernel sends the death signal when that thread ends.

        Args:
            command: The absolute path of the program, and its arguments.
            lock: The descriptor of a lock, which the program and its children inherit.
        """
        self._name = Path(command[0]).name
        python = (
            sys.executable,
            "-I",
            "-S",
        )  # isolated and without site packages: starts in 20 ms instead of 100
        with self._log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [*python, _LAUNCH, str(int(self._death_signal)), str(os.getpid()), self._user, *command],
                cwd=self._log.parent,
                env=os.environ | {"LC_ALL": "C.UTF-8"},  # otherwise Java cannot open paths that are not ASCII
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )

    async def until_ready(self, probe: Callable[[], Awaitable[bool]], *, limit: float) -> None:
        """Wait until the server is ready.

        Args:
            probe: Checks once whether the server is ready.
            limit: Seconds to wait.

        Raises:
            EmbeddedServerError: The server ended, or was not ready in time.
        """
        deadline = time.monotonic() + limit
        while True:
            if self._status() is not None:
                raise self._error(f"ended with status {self._status()} before it was ready")
            if await probe():
                return
            if time.monotonic() > deadline:
                raise self._error(f"was not ready after {limit:.0f} s")
            await asyncio.sleep(_POLL)

    async def until_done(self, *, limit: float) -> None:
        """Wait until a tool has ended.

        Raises:
            EmbeddedServerError: The tool failed, or did not end within `limit` seconds.
        """
        if not await self._ended(limit):
            raise self._error(f"did not end within {limit:.0f} s")
        if self._status() != 0:
            raise self._error(f"failed with status {self._status()}")

    async def stop(self, number: signal.Signals, *, limit: float) -> None:
        """Send a signal to the server; kill the server if it has not ended after `limit` seconds."""
        self.send(number)
        self.send(signal.SIGCONT)  # a stopped process handles a signal only after SIGCONT
        if not await self._ended(limit):
            await self.abort()

    async def abort(self) -> None:
        """Kill the process and its children, and wait until the process has ended."""
        self._kill_all()
        await self._ended(_KILL_TIMEOUT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs, not to its children."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process and its children, and wait until the process has ended; this blocks the event loop.

        Raises:
            TimeoutExpired: The kernel has not removed the process after 10 s.
        """
        self._kill_all()
        if self._process is not None:
            self._process.wait(_KILL_TIMEOUT)

    def _kill_all(self) -> None:
        if self._process is None or self._status() is not None:
            return
        children = _children(self._process.pid)
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def _status(self) -> int | None:
        """Return the exit status: None while the process runs, 0 if none was started."""
        return 0 if self._process is None else self._process.poll()

    async def _ended(self, limit: float) -> bool:
        deadline = time.monotonic() + limit
        while self._status() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL)
        return True

    def _error(self, problem: str) -> EmbeddedServerError:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
        return EmbeddedServerError("\n  ".join([f"{self._name} {problem}. The end of {self._log}:", *lines]))


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended in the meantime
            # The name of the program, in brackets, can contain any character; the state and the parent follow it.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
