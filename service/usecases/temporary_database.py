"""A temporary SQLite database, for what does not fit in memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from service.domain.errors import CommandError

_NO_SPACE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)
_PRIMARY_CODE: Final = 0xFF
"""The bits of an error code that do not depend on its details."""


@contextmanager
def open_temporary_database(schema: str) -> Iterator[sqlite3.Connection]:
    """Open an empty database with ``schema`` for the block.

    Its file, which SQLite creates when the cache is full, has no name and is deleted even if the process is killed.

    Raises:
        CommandError: The file cannot be created, or the disk is full.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(schema)
            database.execute("BEGIN")  # never committed: the database is temporary
            yield database
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & _PRIMARY_CODE not in _NO_SPACE:
            raise
        raise CommandError(
            f"no temporary file can be written ({error}): set TMPDIR to a writable directory with enough space"
        ) from None
