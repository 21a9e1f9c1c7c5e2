"""What Postgres has and what the topic tells, side by side in a temporary file: millions of keys in little memory.

The statements are SQLite's, on tables of that file alone.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson

from service.domain.differences import Difference, Kind, TopicRecord

# Nothing of it outlives the process: no journal, no waiting for the disk. The cache is 64 MiB.
_SCHEMA: Final = """
    PRAGMA journal_mode = off;
    PRAGMA synchronous = off;
    PRAGMA locking_mode = exclusive;
    PRAGMA cache_size = -65536;
    PRAGMA temp_store = file;
    -- Postgres's; digest NULL: deleted.
    CREATE TABLE known (key BLOB PRIMARY KEY, version INTEGER NOT NULL, digest BLOB) WITHOUT ROWID;
    -- Keys with events in the outbox.
    CREATE TABLE waiting (key BLOB PRIMARY KEY, parked INTEGER NOT NULL) WITHOUT ROWID;
    -- The last record of each key; digest NULL: it has no state. newest: the greatest version of all of them.
    CREATE TABLE told (
        key BLOB PRIMARY KEY, version INTEGER NOT NULL, digest BLOB, newest INTEGER NOT NULL,
        organization_id INTEGER, project_id INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE difference (
        key BLOB PRIMARY KEY, kind TEXT NOT NULL, known INTEGER NOT NULL, told INTEGER NOT NULL,
        newest INTEGER NOT NULL, organization_id INTEGER, project_id INTEGER
    ) WITHOUT ROWID;
"""

_ADD_KNOWN: Final = "INSERT INTO known VALUES (?, ?, ?)"
_ADD_WAITING: Final = """
    INSERT INTO waiting VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET parked = max(parked, excluded.parked)
"""
_ADD_TOLD: Final = """
    INSERT INTO told VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE
    SET version = excluded.version, digest = excluded.digest, newest = max(newest, excluded.newest),
        organization_id = coalesce(excluded.organization_id, organization_id),
        project_id = coalesce(excluded.project_id, project_id)
"""

_COMPARE: Final = f"""
    SELECT * FROM (
        SELECT known.key,
               CASE
                   WHEN waiting.parked THEN '{Kind.PARKED}'
                   WHEN waiting.key IS NOT NULL THEN NULL
                   WHEN known.digest IS NULL AND told.digest IS NOT NULL THEN '{Kind.WRONGLY_PRESENT}'
                   WHEN known.digest IS NULL THEN NULL
                   WHEN told.newest > known.version THEN '{Kind.PHANTOM}'
                   WHEN told.digest IS NULL THEN '{Kind.MISSING}'
                   WHEN told.version <> known.version OR told.digest <> known.digest THEN '{Kind.STALE}'
               END AS kind,
               known.version, coalesce(told.version, 0), coalesce(told.newest, 0), NULL, NULL
        FROM known
        LEFT JOIN told ON told.key = known.key
        LEFT JOIN waiting ON waiting.key = known.key
        UNION ALL
        SELECT told.key, '{Kind.PHANTOM}', 0, told.version, told.newest, told.organization_id, told.project_id
        FROM told
        WHERE told.digest IS NOT NULL AND told.key NOT IN (SELECT key FROM known)
          AND told.key NOT IN (SELECT key FROM waiting)
    )
    WHERE kind IS NOT NULL
"""  # noqa: S608 -- the kinds are constants

_ADD_DIFFERENCE: Final = "INSERT INTO difference VALUES (?, ?, ?, ?, ?, ?, ?)"
_SELECT_DIFFERENCES: Final = "SELECT * FROM difference WHERE (? IS NULL OR kind = ?) ORDER BY key"
_COUNT_DIFFERENCES: Final = "SELECT kind, count(*) FROM difference GROUP BY kind"
_COUNT: Final = """
    SELECT (SELECT count(*) FROM known WHERE digest IS NOT NULL), (SELECT count(*) FROM waiting WHERE NOT parked)
"""

_DIGEST_BYTES: Final = 16
_Row = tuple[bytes, str, int, int, int, int | None, int | None]


class DiffStore:
    """Holds both sides and the differences; made by `open_diff_store`."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    def add_known(self, keys: Iterable[tuple[str, int, Mapping[str, Any] | None]]) -> None:
        """Postgres has these: public key, version, and state or None for a deleted one."""
        rows = (
            (bytes.fromhex(key), version, None if state is None else _digest(state))
            for key, version, state in keys
        )
        self._file.executemany(_ADD_KNOWN, rows)

    def add_waiting(self, events: Iterable[tuple[str, bool]]) -> None:
        """The outbox has events of these: public key, and whether it is parked."""
        self._file.executemany(_ADD_WAITING, ((bytes.fromhex(key), parked) for key, parked in events))

    def add_told(self, records: Iterable[TopicRecord]) -> None:
        """The topic has these records; later ones of a key come later."""
        self._file.executemany(_ADD_TOLD, map(_told_row, records))

    def compare(self) -> Iterator[Difference]:
        """What differs by all that was added; keys with events on their way are left out."""
        return map(_difference, self._file.execute(_COMPARE))

    def add_differences(self, differences: Iterable[Difference]) -> None:
        """These have stood up to a second look."""
        self._file.executemany(_ADD_DIFFERENCE, map(_difference_row, differences))

    def differences(self, kind: Kind | None = None) -> Iterator[Difference]:
        """Those that stand, in the order of their keys; of one kind, or all."""
        return map(_difference, self._file.execute(_SELECT_DIFFERENCES, (kind, kind)))

    def counts(self) -> dict[Kind, int]:
        """How many there are of each kind that there is."""
        return {Kind(kind): number for kind, number in self._file.execute(_COUNT_DIFFERENCES)}

    def sizes(self) -> tuple[int, int]:
        """How many keys Postgres has, and of how many events are on their way."""
        keys, on_their_way = self._file.execute(_COUNT).fetchone()
        return int(keys), int(on_their_way)


@contextmanager
def open_diff_store() -> Iterator[DiffStore]:
    """An empty ledger, for the time of the block; some 100 MB in the temporary directory for a million keys."""
    with (
        TemporaryDirectory(prefix="projectkeys-") as directory,
        closing(sqlite3.connect(Path(directory) / "ledger", isolation_level=None)) as file,
    ):
        file.executescript(_SCHEMA)
        file.execute("BEGIN")  # one transaction, which is never committed
        yield DiffStore(file)


def _digest(state: Mapping[str, Any]) -> bytes:
    """Of the members and values, in whatever order they stand."""
    return blake2b(orjson.dumps(state, option=orjson.OPT_SORT_KEYS), digest_size=_DIGEST_BYTES).digest()


def _told_row(heard: TopicRecord) -> Sequence[object]:
    key = bytes.fromhex(heard.public_key)
    if not heard.state:  # gone, or nothing that can be read
        return key, heard.version, heard.state, heard.version, None, None
    state = orjson.loads(heard.state)
    tenant = state["organizationId"], state["projectId"]
    return key, heard.version, _digest(state), heard.version, *tenant


def _difference(row: _Row) -> Difference:
    key, kind, known, told, newest, organization_id, project_id = row
    return Difference(Kind(kind), key.hex(), known, told, newest, organization_id, project_id)


def _difference_row(one: Difference) -> _Row:
    key = bytes.fromhex(one.public_key)
    return key, one.kind, one.known, one.told, one.newest, one.organization_id, one.project_id
