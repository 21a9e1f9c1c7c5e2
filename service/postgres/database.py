"""The connection pool: every wait has a timeout, and every failure of the database raises one exception."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from service.domain.errors import UnavailableError, UncertainError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""A connection, pooled or not."""

PostgresError: TypeAlias = asyncpg.PostgresError
"""Raised for a rejected statement, for example of a database without the schema."""

_UNAVAILABLE: Final = (
    OSError,  # refused, reset, no route; TimeoutError is one of these
    asyncpg.InterfaceError,  # the connection broke during a statement
    asyncpg.InternalClientError,  # the same, detected earlier
    asyncpg.PostgresConnectionError,  # 08xxx
    asyncpg.OperatorInterventionError,  # 57xxx: shutdown, start-up, cancelled by a timeout
    asyncpg.InsufficientResourcesError,  # 53xxx: disk full, out of memory, too many connections
    asyncpg.LockNotAvailableError,  # 55P03: lock_timeout
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a demoted primary
    asyncpg.DeadlockDetectedError,  # 40P01: the other transaction continues
    asyncpg.InvalidAuthorizationSpecificationError,  # 28xxx: while a password is being changed
)
_OUTCOME_UNKNOWN: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,  # 57P01: possible after the commit, during the wait for a standby
    asyncpg.CrashShutdownError,  # 57P02
)
"""Errors after which a write may be committed: the response was lost. Every other error rolled it back."""

_CONNECTIONS_ARE_STALE: Final = (asyncpg.ReadOnlySQLTransactionError, asyncpg.AdminShutdownError)
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
    transaction mode of PgBouncer, it uses no named prepared statements and sends no startup parameters; the timeouts
    of the server then have to be set on the role.
    """

    def __init__(self, url: str, limits: Limits, *, through_pgbouncer: bool = False) -> None:
        self._url = url
        self._limits = limits
        self._through_pgbouncer = through_pgbouncer
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        # The queue of the pool itself is not fair: a later request can get a connection before an earlier one.
        self._turns = asyncio.Semaphore(limits.pool_size)

    async def start(self) -> None:
        """Create the pool without a connection.

        Raises:
            ValueError: The URL is not valid.
        """
        self._pool = await asyncpg.create_pool(
            min_size=0,
            max_size=self._limits.pool_size,
            reset=_leave_no_transaction,
            **self._connect_arguments(),
        )

    def _connect_arguments(self) -> dict[str, Any]:
        limits = self._limits
        return {
            "dsn": self._url or None,
            "timeout": limits.connect,
            "command_timeout": limits.statement + 1,
            "statement_cache_size": 0 if self._through_pgbouncer else 200,
            "server_settings": {}
            if self._through_pgbouncer
            else {
                "application_name": "projectkeys",
                "jit": "off",  # compiling a statement takes longer than executing it
                **_INDEX_SCANS_ONLY,
                "statement_timeout": _milliseconds(limits.statement),
                "lock_timeout": _milliseconds(limits.lock),
                "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction),
            },
        }

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
            UnavailableError: No connection was free in time, or the database failed during a statement.
            UncertainError: The same, and a write of the block may be committed or not.
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
        except _UNAVAILABLE as error:
            if task.cancelling() > cancellations:
                # The task was cancelled, and the error of the rollback replaced the cancellation.
                raise asyncio.CancelledError from error
            if isinstance(error, _CONNECTIONS_ARE_STALE):
                await self._pool.expire_connections()
            uncertain = in_use and isinstance(error, _OUTCOME_UNKNOWN)
            kind = UncertainError if uncertain else UnavailableError
            raise kind(_reason(error)) from error
        except asyncpg.PostgresError as error:
            remove_values(error)
            raise
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
            connection = await asyncpg.connect(**self._connect_arguments())
            try:
                for channel, callback in callbacks.items():
                    await connection.add_listener(channel, _listener(callback))

                async def alive() -> bool:
                    return await connection.fetchval("SELECT true") is True

                yield alive
            finally:
                connection.terminate()
        except _UNAVAILABLE as error:
            raise UnavailableError(_reason(error)) from error

    @property
    def has_session(self) -> bool:
        """Whether a connection is one session, as LISTEN and advisory locks require; False through PgBouncer."""
        return not self._through_pgbouncer

    def sizes(self) -> tuple[int, int]:
        """Return the number of connections, and of idle ones."""
        return (0, 0) if self._pool is None else (self._pool.get_size(), self._pool.get_idle_size())


def _reason(error: Exception) -> str:
    """Return the text of ``error``, with advice where that text alone does not help."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"the server certificate is not valid: {error.verify_message}; check the host and sslrootcert in "
                "DATABASE_URL, or PGHOST and PGSSLROOTCERT"
            )
        case FileNotFoundError():
            return "a file does not exist: check sslrootcert and similar parameters in DATABASE_URL, or PGSSLROOTCERT"
        case _:
            return f"{type(error).__name__}: {error}"


_ARGUMENT: Final = re.compile(r"(invalid input for query argument \$\d+).*", re.DOTALL)


def remove_values(error: Exception) -> None:
    """Remove values of rows and arguments from an error, which the log will contain: they may be secrets."""
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None
        error.args = tuple(_ARGUMENT.sub(r"\1", str(text)) for text in error.args)


def row_count(status: str) -> int:
    """Return the number of rows in a command tag, such as `UPDATE 3`."""
    return int(status.rpartition(" ")[2])


def _listener(callback: Callable[[], None]) -> Callable[..., None]:
    return lambda *_: callback()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


async def _leave_no_transaction(connection: Connection) -> None:
    # No statement changes the session: the full reset, which is a round trip for each use, is not needed.
    if connection.is_in_transaction():
        await connection.reset()
