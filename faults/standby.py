"""A physical standby of the world's PostgreSQL: made from it, fed by it, promoted in its place."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from faults.replica import FaultError
from faults.stage import free_port
from faults.world import World
from service.dev import lock
from service.dev.process import ServerProcess

_COPY_WITHIN: Final = 60.0
_READY_WITHIN: Final = 60.0
_FED_WITHIN: Final = 20.0


class Standby:
    """A second server in ``directory``, on a port of its own."""

    def __init__(self, world: World, directory: Path) -> None:
        directory.mkdir(mode=0o755)
        self._world = world
        self._directory = directory
        self.port = free_port(world.directory)
        self._process = ServerProcess(
            log=directory / "standby.log",
            death_signal=signal.SIGQUIT,
            user="nobody" if os.geteuid() == 0 else "",
        )

    async def start(self) -> None:
        """Copy the primary and follow it.

        Raises:
            FaultError: it does not get as far as the primary.
        """
        held = await lock.take(self._directory, patience=1)
        postgres = self._world.servers.postgres
        if os.geteuid() == 0:
            shutil.chown(self._directory, "nobody")
        url = postgres.url
        try:
            copy = ["-D", str(self._directory / "data"), "-R", "-X", "stream", "-c", "fast", "-d", url]
            self._process.launch([str(postgres.bin_dir / "pg_basebackup"), *copy], lock=held)
            await self._process.until_done(limit=_COPY_WITHIN)
            settings = ("--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--max_connections=200")
            serve = ["-D", str(self._directory / "data"), f"--port={self.port}", *settings]
            self._process.launch([str(postgres.bin_dir / "postgres"), *serve], lock=held)
            await self._process.until_ready(self._answers, limit=_READY_WITHIN)
        finally:
            os.close(held)

    async def fed(self) -> None:
        """Wait until it has all that the primary has committed by now.

        Raises:
            FaultError: it does not come to that.
        """
        async with asyncio.timeout(_FED_WITHIN):
            primary = await asyncpg.connect(self._world.servers.postgres.url)
            position = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
            await primary.close()
            standby = await asyncpg.connect(self._url())
            while not await standby.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", position):
                await asyncio.sleep(0.02)
            await standby.close()

    async def promote(self) -> None:
        """Become the primary.

        Raises:
            FaultError: it does not.
        """
        connection = await asyncpg.connect(self._url())
        if not await connection.fetchval("SELECT pg_promote(true, 30)"):
            raise FaultError("the standby was not promoted")
        await connection.close()

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def _url(self) -> str:
        parts = urlsplit(self._world.servers.postgres.url)
        return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{self.port}/postgres"

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self._url(), timeout=5)
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True
