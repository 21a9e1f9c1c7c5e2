"""Classifies the errors of the driver: which ones are the state of the database, and whether a write is undone."""

import re
import ssl
from typing import Final

import asyncpg

from service.domain.errors import ConflictError, UnavailableError, UncertainError

_CONNECTION_ERRORS: Final = (
    OSError,  # refused, reset, no route; TimeoutError is one of these
    asyncpg.InterfaceError,  # the connection broke during a statement
    asyncpg.InternalClientError,  # the same, detected earlier
)
_CONFLICTS: Final = (
    asyncpg.SerializationError,  # 40001
    asyncpg.DeadlockDetectedError,  # 40P01: the other transaction continues
    asyncpg.InvalidCachedStatementError,  # a migration has changed a table since the statement was prepared
)
_DATABASE_STATES: Final = re.compile(
    r"08|22P05|25006|25P03|28|3D|3F|40|42501|42703|42704|42883|42P01|53|55|57|58|F0|XX"
)
"""Beginnings of the SQLSTATEs that depend on the state of the database and not on the statement's values: broken
connections, a database that is not in UTF-8, a demoted primary, changed passwords and rights, missing databases and
tables, locks, full disks, timeouts, shutdowns, damaged files and whatever a pooler reports as XX000."""

_OUTCOME_UNKNOWN: Final = re.compile(r"08|40003|57P0[12]")
"""SQLSTATEs after which a write may be committed: the shutdown of the server can interrupt the wait for a standby."""

_NOT_EXECUTED: Final = re.compile(r"25P03|28|3D")
"""SQLSTATEs of fatal errors that precede the statement; any other fatal error may follow the commit."""

_STALE_CONNECTION: Final = re.compile(r"25006|28|3D|42501|57P01")
"""SQLSTATEs after which new connections can be better than the present ones: they reach the new primary, or use the
present credentials."""


def failure_of_statement(error: Exception) -> Exception:
    """Return the exception that callers receive for ``error``, which a statement on an acquired connection raised.

    It is ``error`` itself if it is neither of the driver nor the state of the database: it is a defect.
    """
    if isinstance(error, _CONFLICTS):
        return ConflictError(reason(error))
    if isinstance(error, _CONNECTION_ERRORS):
        return UncertainError(reason(error))
    if not isinstance(error, asyncpg.PostgresError):
        return error
    remove_values(error)
    state = error.sqlstate or ""
    is_fatal = error.severity_en in {"FATAL", "PANIC"}
    if _OUTCOME_UNKNOWN.match(state) or (is_fatal and not _NOT_EXECUTED.match(state)):
        return UncertainError(reason(error))
    return UnavailableError(reason(error)) if is_fatal or _DATABASE_STATES.match(state) else error


def makes_connections_stale(error: Exception) -> bool:
    """Return whether the pool should replace its connections."""
    return isinstance(error, asyncpg.PostgresError) and bool(_STALE_CONNECTION.match(error.sqlstate or ""))


def reason(error: Exception) -> str:
    """Return the text of ``error``, with advice where that text alone does not help."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"the server certificate is not valid: {error.verify_message}; check the host and sslrootcert in "
                "DATABASE_URL, or PGHOST and PGSSLROOTCERT"
            )
        case FileNotFoundError():
            return "a file does not exist: check sslrootcert and similar parameters in DATABASE_URL, or PGSSLROOTCERT"
        case asyncpg.ReadOnlySQLTransactionError():
            return (
                f"{type(error).__name__}: {error}; the database is read-only: it is a standby, or "
                "default_transaction_read_only is on"
            )
        case _:
            return f"{type(error).__name__}: {error}"


_ARGUMENT: Final = re.compile(r"(invalid input for query argument \$\d+).*", re.DOTALL)


def remove_values(error: Exception) -> None:
    """Remove values of rows and arguments from an error, which the log will contain: they may be secrets."""
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None
        error.args = tuple(_ARGUMENT.sub(r"\1", str(text)) for text in error.args)
