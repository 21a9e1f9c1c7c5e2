"""The pool of connections: every wait bounded, every fault of the database told as one error."""

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
"""What statements run on, pooled or not."""

_UNAVAILABLE: Final = (
    OSError,  # refused, reset, no route; TimeoutError is one of these
    asyncpg.InterfaceError,  # the connection broke under a statement
    asyncpg.InternalClientError,  # the same, seen a moment earlier
    asyncpg.PostgresConnectionError,  # 08xxx
    asyncpg.OperatorInterventionError,  # 57xxx: shutdown, start-up, cancelled by a time-out
    asyncpg.InsufficientResourcesError,  # 53xxx: disk full, out of memory, too many connections
    asyncpg.LockNotAvailableError,  # 55P03: lock_timeout
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a demoted primary
    asyncpg.DeadlockDetectedError,  # 40P01: the other side went on
    asyncpg.InvalidAuthorizationSpecificationError,  # 28xxx: a password that is being changed
)
_NOBODY_KNOWS: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,  # 57P01: may come after the commit, while a standby is waited for
    asyncpg.CrashShutdownError,  # 57P02
)
"""Those after which a write is committed or is not: its answer was lost. Every other one rolled it back."""

_CONNECTIONS_ARE_STALE: Final = (asyncpg.ReadOnlySQLTransactionError, asyncpg.AdminShutdownError)
_CLOSE_WITHIN: Final = 1.0
"""Seconds for statements under way when the pool closes; then they are cut. Nobody waits for them any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what the database may make callers wait for, in seconds, and the pool's size."""

    pool_size: int = 10
    connect: float = 5.0
    acquire: float = 1.0
    statement: float = 3.0
    lock: float = 2.0
    idle_in_transaction: float = 5.0


class Database:
    """A pool on one Postgres.

    It starts without the database and recovers without a restart. ``through_pgbouncer``: statements are not
    prepared by name and no start-up parameters are sent, so that PgBouncer's transaction mode can serve it; the
    server-side time-outs then have to be set on the role.
    """

    def __init__(self, url: str, limits: Limits, *, through_pgbouncer: bool = False) -> None:
        self._url = url
        self._limits = limits
        self._through_pgbouncer = through_pgbouncer
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        # In front of the pool, whose own queue lets newcomers pass those who wait.
        self._turns = asyncio.Semaphore(limits.pool_size)

    async def start(self) -> None:
        """Make the pool; connects to nothing yet.

        Raises:
            ValueError: the URL cannot be understood.
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
                "jit": "off",  # every statement is short: compiling one takes longer than running it
                # Plans are kept: one that was made while a table was empty, and that therefore reads all of it, would
                # go on doing so when it has grown.
                "enable_seqscan": "off",
                "statement_timeout": _milliseconds(limits.statement),
                "lock_timeout": _milliseconds(limits.lock),
                "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction),
            },
        }

    async def close(self) -> None:
        """Close every connection; statements that do not end in time are cut."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), _CLOSE_WITHIN)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool; each statement is a transaction of its own.

        Raises:
            UnavailableError: none came free in time, or the database failed under the statement.
            UncertainError: of these, the one after which a write is committed or is not.
        """
        assert self._pool is not None, "start() comes first"
        cancellations = _cancellations()
        await self._take_turn()
        in_use = False
        try:
            async with self._pool.acquire(timeout=self._limits.acquire) as connection:
                in_use = True
                yield connection
        except _UNAVAILABLE as error:
            if _cancellations() > cancellations:
                # The rollback failed too, and took the place of what the caller has to see: that it is to end.
                raise asyncio.CancelledError from error
            if isinstance(error, _CONNECTIONS_ARE_STALE):
                await self._pool.expire_connections()
            uncertain = in_use and isinstance(error, _NOBODY_KNOWS)
            kind = UncertainError if uncertain else UnavailableError
            raise kind(_words(error)) from error
        except asyncpg.PostgresError as error:
            forget_values(error)
            raise
        finally:
            self._turns.release()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(self._limits.acquire):
                await self._turns.acquire()
        except TimeoutError:
            raise UnavailableError(f"no connection came free within {self._limits.acquire:g} s") from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that commits at the end of the block, or not at all on an error.

        Raises:
            UnavailableError: as for `connection`; also UncertainError.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def listening(
        self, heard: Mapping[str, Callable[[], None]]
    ) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
        """A connection of its own that calls what ``heard`` has for a channel on each NOTIFY there.

        Gives a check that asks the server, so that a connection that broke in silence is noticed.

        Raises:
            UnavailableError: the connection could not be made or broke.
        """
        try:
            connection = await asyncpg.connect(**self._connect_arguments())
            try:
                for channel, call in heard.items():
                    await connection.add_listener(channel, _calling(call))

                async def alive() -> bool:
                    return await connection.fetchval("SELECT true") is True

                yield alive
            finally:
                connection.terminate()
        except _UNAVAILABLE as error:
            raise UnavailableError(_words(error)) from error

    @property
    def takes_notifications(self) -> bool:
        """Whether LISTEN can work on this route to the database."""
        return not self._through_pgbouncer

    def sizes(self) -> tuple[int, int]:
        """How many connections there are, and how many of them are idle."""
        return (0, 0) if self._pool is None else (self._pool.get_size(), self._pool.get_idle_size())


def _cancellations() -> int:
    """How many requests to end the running task has had."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _words(error: Exception) -> str:
    """What to say of ``error``: more where its own words leave the reader alone."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is refused: {error.verify_message}; look at the host and sslrootcert in "
                "DATABASE_URL, or at PGHOST and PGSSLROOTCERT"
            )
        case FileNotFoundError():
            return (
                "a file is not there: look at sslrootcert and the like in DATABASE_URL, or at PGSSLROOTCERT"
            )
        case _:
            return f"{type(error).__name__}: {error}"


_ARGUMENT: Final = re.compile(r"(invalid input for query argument \$\d+).*", re.DOTALL)


def forget_values(error: Exception) -> None:
    """Leave out what the row or the argument held that failed: a secret, perhaps, and the log shows the error."""
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None
        error.args = tuple(_ARGUMENT.sub(r"\1", str(one)) for one in error.args)


def _calling(call: Callable[[], None]) -> Callable[..., None]:
    return lambda *_: call()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


async def _leave_no_transaction(connection: Connection) -> None:
    # Nothing here changes the session, so the full reset, a round trip for each use, has nothing to undo.
    if connection.is_in_transaction():
        await connection.reset()
