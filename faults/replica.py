"""Replicas of the service: real processes, killed, halted and ended at will."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from faults.http import NoAnswerError, NobodyThereError, ask, patient_status
from service.dev import launch

READY_WITHIN: Final = 30.0
_POLL: Final = 0.02
_KILLED_WITHIN: Final = 10.0
_ROOT: Final = Path(__file__).parents[1]
_READY: Final = 200


class FaultError(Exception):
    """The experiment cannot go on, which is no verdict on the service; the text says why."""


class Replica:
    """A `projectkeys serve` on ports of its own, which it keeps when it is started again.

    Args:
        environment: Its settings.
        port: The API's.
        ops_port: The operators'.
        log: Takes what it writes.
        module: What is run in its place, with its own arguments: a wrapper that harms it from inside.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        port: int,
        ops_port: int,
        log: Path,
        module: Sequence[str] = ("service",),
    ) -> None:
        self.environment = {**environment, "PORT": str(port), "OPS_PORT": str(ops_port), "HOST": "127.0.0.1"}
        self.port = port
        self.ops_port = ops_port
        self.log = log
        self.module = tuple(module)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it does not outlive this process."""
        tied = [sys.executable, launch.__file__, str(int(signal.SIGKILL)), str(os.getpid()), ""]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                [*tied, sys.executable, "-m", *self.module, "serve"],
                cwd=self.log.parent,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            FaultError: it was never started.
        """
        if self._process is None:
            raise FaultError("the replica was never started")
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return None if self._process is None else self._process.poll()

    async def ready(self, *, within: float = READY_WITHIN) -> float:
        """Wait until /readyz says so; returns the seconds that took.

        Raises:
            FaultError: it does not.
        """
        began = time.monotonic()
        while await patient_status(self.ops_port, "/readyz") != _READY:
            if self.status is not None:
                raise FaultError(f"the replica ended with {self.status}:\n{self.last_words()}")
            if time.monotonic() - began > within:
                raise FaultError(f"the replica is not ready after {within:g} s:\n{self.last_words()}")
            await asyncio.sleep(_POLL)
        return time.monotonic() - began

    async def metrics(self) -> dict[str, float]:
        """Its figures without labels, by their names without the prefix.

        Raises:
            FaultError: it does not answer.
        """
        try:
            text = (await ask(self.ops_port, "GET", "/metrics")).body.decode()
        except (NobodyThereError, NoAnswerError) as error:
            raise FaultError(f"the replica's metrics cannot be had: {error}") from None
        return {
            name: float(value) for name, value in re.findall(r"^projectkeys_(\w+) (\S+)$", text, re.MULTILINE)
        }

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_KILLED_WITHIN)

    async def ended(self, *, within: float) -> int | None:
        """Its exit status once it has ended; None if it has not after so many seconds."""
        deadline = time.monotonic() + within
        while self.status is None and time.monotonic() < deadline:
            await asyncio.sleep(_POLL)
        return self.status

    def last_words(self, lines: int = 12) -> str:
        """The end of its log, without the requests."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([line for line in text.splitlines() if '"event":"request"' not in line][-lines:])

    def resident(self) -> int:
        """Bytes of resident memory; 0 if it does not run."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except OSError:
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Open descriptors; 0 if it does not run."""
        try:
            return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        except OSError:
            return 0
