"""A server's process: started as a child, ended with the process that started it, its words in a log file."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from service.dev.errors import EmbeddedServerError

_LAUNCH = str(Path(__file__).with_name("launch.py"))
_POLL = 0.02  # seconds
_TAIL = 15  # lines of the log in an error
_KILL_LIMIT = 10.0  # seconds for the kernel to clear away a killed process


class ServerProcess:
    """The process of a server, or of a tool that prepares it: one at a time, none at first.

    It gets a session of its own, so that Ctrl-C in a terminal reaches only the process that started it.

    Args:
        log: The file that output is appended to; its directory becomes the working directory.
        death_signal: What the kernel sends the server when this process ends, however that happens.
        user: The account to run as when this process is root's; empty for the present one.
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
            RuntimeError: Nothing runs.
        """
        if self._process is None:
            raise RuntimeError("The server does not run.")
        return self._process.pid

    def launch(self, command: Sequence[str], *, lock: int) -> None:
        """Start a program.

        To the kernel, the end of the calling thread is the end of this process: call it from one that stays.

        Args:
            command: The program's absolute path and its arguments.
            lock: A descriptor that the program and its children inherit and keep open.
        """
        self._name = Path(command[0]).name
        python = (sys.executable, "-I", "-S")  # isolated, without site packages: 20 ms instead of 100
        with self._log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [*python, _LAUNCH, str(int(self._death_signal)), str(os.getpid()), self._user, *command],
                cwd=self._log.parent,
                env=os.environ | {"LC_ALL": "C.UTF-8"},  # else Java cannot open every path
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )

    async def until_ready(self, probe: Callable[[], Awaitable[bool]], *, limit: float) -> None:
        """Wait until the server answers.

        Args:
            probe: Asks the server once and tells whether it is ready.
            limit: Seconds to wait.

        Raises:
            EmbeddedServerError: It ended, or did not answer in time.
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
        """Wait for a tool to do its work.

        Raises:
            EmbeddedServerError: It failed, or did not end within `limit` seconds.
        """
        if not await self._ended(limit):
            raise self._error(f"did not end within {limit:.0f} s")
        if self._status() != 0:
            raise self._error(f"failed with status {self._status()}")

    async def stop(self, how: signal.Signals, *, limit: float) -> None:
        """Ask the server to end by a signal, and kill it if it has not after `limit` seconds."""
        self.send(how)
        self.send(signal.SIGCONT)  # a paused process acts on nothing else
        if not await self._ended(limit):
            self.kill()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and its children by SIGKILL, and wait until it is gone; they follow in moments."""
        if self._process is None or self._status() is not None:
            return
        children = _children(self._process.pid)
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(_KILL_LIMIT)

    def _status(self) -> int | None:
        """The exit status; None while it runs, 0 where there never was a process."""
        return 0 if self._process is None else self._process.poll()

    async def _ended(self, limit: float) -> bool:
        deadline = time.monotonic() + limit
        while self._status() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL)
        return True

    def _error(self, what: str) -> EmbeddedServerError:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()[-_TAIL:]
        return EmbeddedServerError("\n  ".join([f"{self._name} {what}. The end of {self._log}:", *lines]))


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # The name before the bracket may hold anything; behind it stand the state and the parent.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
