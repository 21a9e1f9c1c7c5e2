"""A temporary SQLite database, for what does not fit in memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import ClassVar, Final, Self

from service.domain.errors import CommandError

_NO_SPACE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)
# The database is deleted with the process, so it has no journal and is not flushed. The cache is 64 MiB.
_SETTINGS: Final = """
    PRAGMA journal_mode = off;
    PRAGMA synchronous = off;
    PRAGMA locking_mode = exclusive;
    PRAGMA cache_size = -65536;
    PRAGMA temp_store = file;
"""
_PRIMARY_CODE: Final = 0xFF
"""The bits of an error code that do not depend on its details."""


class TemporaryStore:
    """The base class of stores in a temporary database; `schema` creates its tables."""

    schema: ClassVar[str]

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """Create an empty store for the block.

        Its file, which SQLite creates when the cache is full, has no name and is deleted even if the process is
        killed.

        Raises:
            CommandError: The file cannot be created, or the disk is full.
        """
        try:
            with closing(sqlite3.connect("", isolation_level=None)) as file:
                file.executescript(_SETTINGS + cls.schema)
                file.execute("BEGIN")  # never committed: the database is temporary
                yield cls(file)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE not in _NO_SPACE:
                raise
            raise CommandError(
                f"no temporary file can be written ({error}): set TMPDIR to a writable directory with enough space"
            ) from None
