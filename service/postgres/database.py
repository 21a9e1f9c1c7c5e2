"""The connection pool: every wait has a timeout, and every failure of the database raises one exception."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from service.concurrency.outage import Outage
from service.domain.errors import UnavailableError, UnreachableError
from service.postgres.connection_url import ConnectionParameters, connection_parameters
from service.postgres.failures import failure_of_statement, makes_connections_stale, reason

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""A connection, pooled or not."""

PostgresError: TypeAlias = asyncpg.PostgresError
"""Raised for a rejected statement, for example of a database without the schema."""

_LONGEST_PAUSE: Final = 0.25
"""Seconds of a backoff that a request waits for, so that one failure does not fail the requests that follow it."""

_INDEX_SCANS_ONLY: Final = dict.fromkeys(
    ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_mergejoin"), "off"
)
"""Every statement finds a few rows by an index, in the order of the index. Other plans are faster in small tables
only; without statistics, or if they are cached, Postgres uses them in large tables too."""

_CLOSE_TIMEOUT: Final = 1.0
"""Seconds for running statements when the pool closes; then their connections are terminated."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The size of the pool, and timeouts in seconds."""

    pool_size: int = 10
    connect: float = 5.0
    acquire: float = 1.0
    statement: float = 3.0
    lock: float = 2.0
    idle_in_transaction: float = 5.0


class Database:
    """A connection pool of one Postgres.

    It starts while the database is unavailable and recovers without a restart. With ``through_pgbouncer``, for the
    transaction mode of PgBouncer, it uses no named prepared statements and sends no startup parameters; those of
    `session_parameters` then have to be set on the role.

    Args:
        read_url: Returns the present URL; called for each connection, since its password may change.
        limits: The size of the pool, and timeouts.
        through_pgbouncer: As above; a parameter of the URL can say so too.
        outage: Records failures to connect, and delays further attempts.

    Raises:
        ValueError: The URL or a PG* variable has parameters that are not supported; each line names one.
    """

    def __init__(
        self,
        read_url: Callable[[], str],
        limits: Limits,
        *,
        through_pgbouncer: bool = False,
        outage: Outage | None = None,
    ) -> None:
        self._read_url = read_url
        self._parameters = connection_parameters(read_url(), os.environ)
        self._limits = limits
        self._through_pgbouncer = through_pgbouncer or self._parameters.through_pgbouncer
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._outage = outage or Outage()
        # The queue of the pool itself is not fair: a later request can get a connection before an earlier one.
        self._turns = asyncio.Semaphore(limits.pool_size)

    async def start(self) -> None:
        """Create the pool without a connection."""
        self._pool = await asyncpg.create_pool(
            min_size=0, max_size=self._limits.pool_size, reset=_leave_no_transaction, connect=self._connect
        )

    @property
    def session_parameters(self) -> dict[str, str]:
        """The parameters of Postgres that every session must have."""
        limits = self._limits
        return {
            "default_transaction_isolation": "read committed",  # writes lock rows; they do not repeat transactions
            "jit": "off",  # compiling a statement takes longer than executing it
            **_INDEX_SCANS_ONLY,
            "standard_conforming_strings": "on",
            "statement_timeout": _milliseconds(limits.statement),
            "lock_timeout": _milliseconds(limits.lock),
            "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction),
        }

    async def _connect(self, dsn: str | None = None, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection, with ``options`` of the pool; its caller reports a failure by `_unreachable`.

        Raises:
            UnreachableError: An attempt has failed and the next one is not due.
            Exception: The files of the settings or the server prevent it.
        """
        del dsn  # the pool passes it
        if left := self._outage.seconds_left:
            if left > _LONGEST_PAUSE:
                raise UnreachableError(self._outage.reason)
            await asyncio.sleep(left)
        parameters = self._parameters = connection_parameters(self._read_url(), os.environ)
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            **parameters.arguments,
            **options,
            ssl=parameters.context and parameters.context(),
            timeout=parameters.timeout or self._limits.connect,
            command_timeout=self._limits.statement + 1,
            statement_cache_size=0 if self._through_pgbouncer else 200,
            server_settings=parameters.server_settings | ({} if self._through_pgbouncer else self.session_parameters),
        )
        _set_socket_options(connection, parameters)
        self._outage.ended()
        return connection

    def _unreachable(self, error: Exception) -> UnreachableError:
        """Record a failure to connect; return the exception that callers receive instead of ``error``."""
        if isinstance(error, UnreachableError):
            return error
        text = "the server did not respond in time" if isinstance(error, TimeoutError) else reason(error)
        self._outage.failed(text, host=self._parameters.host, port=self._parameters.port)
        return UnreachableError(text)

    async def close(self) -> None:
        """Close every connection; terminate statements that do not end in time."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), _CLOSE_TIMEOUT)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Acquire a connection for the block; each statement is a transaction of its own.

        Raises:
            UnreachableError: No connection could be opened, for whatever reason.
            UnavailableError: No connection was free in time, or the database failed during a statement.
            ConflictError: A concurrent transaction prevented that of the block, which was rolled back.
            UncertainError: The database failed, and a write of the block may be committed or not.
            PostgresError: Postgres rejected a statement.
        """
        task = asyncio.current_task()
        assert self._pool is not None, "start() was not called"
        assert task is not None, "timeouts need a task"
        cancellations = task.cancelling()
        if self._turns.locked():
            await self._wait_for_turn()
        else:
            await self._turns.acquire()
        in_use = False
        try:
            async with self._pool.acquire(timeout=self._limits.acquire) as connection:
                in_use = True
                yield connection
        except Exception as error:
            failure = failure_of_statement(error) if in_use else self._unreachable(error)
            if failure is error:
                raise
            if task.cancelling() > cancellations:
                # The task was cancelled, and the error of the rollback replaced the cancellation.
                raise asyncio.CancelledError from error
            if in_use and makes_connections_stale(error):
                await self._pool.expire_connections()
            raise failure from error
        finally:
            self._turns.release()

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(self._limits.acquire):
                await self._turns.acquire()
        except TimeoutError:
            raise UnavailableError(f"no connection was free within {self._limits.acquire:g} s") from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Run the block in a transaction: it commits at the end of the block, and rolls back on an exception.

        Raises:
            UnavailableError: As `connection`; UncertainError and PostgresError too.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def listening(
        self, callbacks: Mapping[str, Callable[[], None]]
    ) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
        """Call the callback of a channel for each NOTIFY, on a separate connection.

        Yields a function that checks the connection by a round trip, which also detects a half-open connection.

        Raises:
            UnavailableError: The connection could not be opened, or broke.
        """
        try:
            connection = await self._connect()
        except Exception as error:
            raise self._unreachable(error) from error
        try:
            try:
                for channel, callback in callbacks.items():
                    await connection.add_listener(channel, _listener(callback))

                async def alive() -> bool:
                    return await connection.fetchval("SELECT true") is True

                yield alive
            finally:
                connection.terminate()
        except Exception as error:
            failure = failure_of_statement(error)
            if failure is error:
                raise
            raise failure from error

    @property
    def has_session(self) -> bool:
        """Whether a connection is one session, as LISTEN and advisory locks require; False through PgBouncer."""
        return not self._through_pgbouncer

    def sizes(self) -> tuple[int, int]:
        """Return the number of connections, and of idle ones."""
        return (0, 0) if self._pool is None else (self._pool.get_size(), self._pool.get_idle_size())


def row_count(status: str) -> int:
    """Return the number of rows in a command tag, such as `UPDATE 3`."""
    return int(status.rpartition(" ")[2])


def _set_socket_options(connection: "asyncpg.Connection[asyncpg.Record]", parameters: ConnectionParameters) -> None:
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001 -- no public name
    kernel = transport.get_extra_info("socket")
    if kernel.family != socket.AF_UNIX:
        for option in parameters.socket_options:
            kernel.setsockopt(*option)


def _listener(callback: Callable[[], None]) -> Callable[..., None]:
    return lambda *_: callback()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


async def _leave_no_transaction(connection: Connection) -> None:
    # No statement changes the session: the full reset, which is a round trip for each use, is not needed.
    if connection.is_in_transaction():
        await connection.reset()
