"""Replicas of the service: processes, each on its own ports."""

import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from projectkeys_servers.ports import free_port
from testkit.http_client import NoResponseError, NotSentError, Response, request
from testkit.polling import poll_until
from testkit.processes import Process

READY_TIMEOUT: Final = 30.0
_POLL_INTERVAL: Final = 0.02
_TAIL: Final = 12  # lines
_METRIC: Final = re.compile(r"^projectkeys_(\S+) (\S+)$", re.MULTILINE)


class ReplicaError(Exception):
    """The replica was not started, exited, is not ready, or does not respond."""


class Replica:
    """A process of the service that keeps its ports when it is started again.

    Args:
        environment: Its settings without the ports.
        directory: The directory of its log.
        module: The Python module to run with its arguments.
        command: The service's command and its options.
        interpreter: The path of Python.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        directory: Path,
        module: Sequence[str] = ("service",),
        command: Sequence[str] = ("serve",),
        interpreter: str = sys.executable,
    ) -> None:
        self.port, self.ops_port = free_port(), free_port()
        ports = {"PORT": str(self.port), "OPS_PORT": str(self.ops_port), "HOST": "127.0.0.1"}
        self.environment = {**environment, **ports}
        self.log = directory / f"replica-{self.port}.log"
        self.module = tuple(module)
        self._command = tuple(command)
        self._interpreter = interpreter
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The running process, or the last one that ran.

        Raises:
            ReplicaError: The replica was never started.
        """
        if self._process is None:
            raise ReplicaError("the replica was never started")
        return self._process

    def start(self) -> None:
        """Start a process."""
        command = [self._interpreter, "-m", *self.module, *self._command]
        self._process = Process(command, environment=self.environment, output=self.log)

    def kill(self) -> None:
        """Send SIGKILL and wait for the exit, if the replica was started."""
        if self._process is not None:
            self._process.kill()

    async def stop(self, *, timeout: float) -> int | None:
        """Send SIGTERM and return the exit status, or None if it still runs after ``timeout`` seconds."""
        self.process.signal(signal.SIGTERM)
        return await self.process.wait_for_exit(timeout=timeout)

    async def wait_until_ready(self, *, timeout: float = READY_TIMEOUT) -> float:
        """Wait until /readyz responds with 200; return the seconds waited.

        Raises:
            ReplicaError: The process exited, or is not ready after ``timeout`` seconds.
        """
        started_at = time.monotonic()
        await poll_until(
            self._is_ready,
            timeout=timeout,
            interval=_POLL_INTERVAL,
            error=lambda: ReplicaError(f"not ready after {timeout:g} s:\n{self.log_tail()}"),
        )
        return time.monotonic() - started_at

    async def _is_ready(self) -> bool:
        if not self.process.running:
            raise ReplicaError(f"exited with status {self.process.exit_status}:\n{self.log_tail()}")
        try:
            return (await self.readyz())[0] == 200  # noqa: PLR2004 -- an HTTP status
        except ReplicaError:
            return False

    async def readyz(self) -> tuple[int, dict[str, Any]]:
        """Return status and body of /readyz.

        Raises:
            ReplicaError: There is no response.
        """
        response = await self._get("/readyz")
        return response.status, response.json()

    async def metrics(self) -> dict[str, float]:
        """Return the samples of /metrics by name, with labels and without the prefix `projectkeys_`.

        Raises:
            ReplicaError: There is no response.
        """
        text = (await self._get("/metrics")).body.decode()
        return {name: float(value) for name, value in _METRIC.findall(text)}

    async def _get(self, path: str) -> Response:
        try:
            return await request(self.ops_port, "GET", path)
        except (NotSentError, NoResponseError) as error:
            raise ReplicaError(f"no response to GET {path}: {error}") from None

    def log_lines(self) -> list[str]:
        """Return the lines of the log so far."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def log_tail(self) -> str:
        """Return the end of the log without successful requests."""
        lines = [line for line in self.log_lines() if '"event":"request"' not in line or '"fault"' in line]
        return "\n".join(lines[-_TAIL:])
