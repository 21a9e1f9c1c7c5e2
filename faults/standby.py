"""A physical standby of the shared PostgreSQL: copied from it, replicating it, and promoted in its place."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from faults.errors import ExperimentError
from faults.shared_servers import SharedServers
from projectkeys_servers import lock
from projectkeys_servers.ports import free_port
from projectkeys_servers.process import ServerProcess

_COPY_TIMEOUT: Final = 60.0
_READY_TIMEOUT: Final = 60.0
_SYNCHRONOUS_TIMEOUT: Final = 20.0

_IS_SYNCHRONOUS: Final = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"


class Standby:
    """A second server in ``directory``, on a port of its own."""

    def __init__(self, servers: SharedServers, directory: Path) -> None:
        directory.mkdir(mode=0o755)
        self._servers = servers
        self._directory = directory
        self.port = free_port()
        self._process = ServerProcess(
            log=directory / "standby.log",
            death_signal=signal.SIGQUIT,
            user="nobody" if os.geteuid() == 0 else "",
        )

    async def start(self) -> None:
        """Copy the primary and start replication.

        Raises:
            EmbeddedServerError: The copy or the start fails.
        """
        held = await lock.take(self._directory, limit=1)
        postgres = self._servers.postgres
        if os.geteuid() == 0:
            shutil.chown(self._directory, "nobody")
        url = postgres.url
        try:
            copy = ["-D", str(self._directory / "data"), "-R", "-X", "stream", "-c", "fast", "-d", url]
            self._process.launch([str(postgres.bin_dir / "pg_basebackup"), *copy], lock=held)
            await self._process.until_done(limit=_COPY_TIMEOUT)
            settings = ("--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--max_connections=200")
            serve = ["-D", str(self._directory / "data"), f"--port={self.port}", *settings]
            self._process.launch([str(postgres.bin_dir / "postgres"), *serve], lock=held)
            await self._process.until_ready(self._accepts_connections, limit=_READY_TIMEOUT)
        finally:
            os.close(held)

    async def until_synchronous(self) -> None:
        """Wait until each commit on the primary waits for this standby.

        Raises:
            TimeoutError: This takes too long.
        """
        async with asyncio.timeout(_SYNCHRONOUS_TIMEOUT):
            primary = await asyncpg.connect(self._servers.postgres.url)
            while not await primary.fetchval(_IS_SYNCHRONOUS):
                await asyncio.sleep(0.02)
            await primary.close()

    async def promote(self) -> None:
        """Promote the standby to primary.

        Raises:
            ExperimentError: It was not promoted.
        """
        connection = await asyncpg.connect(self._url())
        if not await connection.fetchval("SELECT pg_promote(true, 30)"):
            raise ExperimentError("the standby was not promoted")
        await connection.close()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def _url(self) -> str:
        parts = urlsplit(self._servers.postgres.url)
        return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{self.port}/postgres"

    async def _accepts_connections(self) -> bool:
        try:
            connection = await asyncpg.connect(self._url(), timeout=5)
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True
