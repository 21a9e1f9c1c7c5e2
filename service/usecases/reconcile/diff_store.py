"""Compares the keys of Postgres and of the topic in a temporary SQLite file: millions do not fit in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson

from service.domain.differences import Difference, Kind, TopicRecord
from service.domain.events import ADDED_MEMBERS
from service.usecases.temporary_database import TemporaryStore

_SCHEMA: Final = """
    -- Keys in Postgres; a deleted key has no digest. former_digest is that of the state without its latest members.
    CREATE TABLE postgres_key (
        key BLOB PRIMARY KEY, version INTEGER NOT NULL, digest BLOB, former_digest BLOB
    ) WITHOUT ROWID;
    -- Keys with events in the outbox.
    CREATE TABLE outbox_key (key BLOB PRIMARY KEY, parked INTEGER NOT NULL) WITHOUT ROWID;
    -- The last record of each key, without a digest if it is a tombstone, and the highest version of its records.
    CREATE TABLE topic_key (
        key BLOB PRIMARY KEY, version INTEGER NOT NULL, digest BLOB, newest_version INTEGER NOT NULL,
        organization_id INTEGER, project_id INTEGER
    ) WITHOUT ROWID;
    -- Confirmed differences, with the members of `Difference`.
    CREATE TABLE difference (
        kind TEXT NOT NULL, key TEXT PRIMARY KEY, version_in_postgres INTEGER NOT NULL,
        version_in_topic INTEGER NOT NULL, newest_version INTEGER NOT NULL,
        organization_id INTEGER, project_id INTEGER
    ) WITHOUT ROWID;
"""

_DIGEST_BYTES: Final = 16


class DiffStore(TemporaryStore):
    """Stores the keys of Postgres and of the topic and their differences; a million keys need 100 MB of disk."""

    schema = _SCHEMA

    _ADD_POSTGRES_KEY: Final = "INSERT INTO postgres_key VALUES (?, ?, ?, ?)"

    def add_postgres_keys(self, keys: Iterable[tuple[str, int, Mapping[str, Any] | None]]) -> None:
        """Add public keys of Postgres with their versions and states; the state of a deleted key is None."""
        rows = (
            (bytes.fromhex(key), version, *((None, None) if state is None else _digests(state)))
            for key, version, state in keys
        )
        self._file.executemany(self._ADD_POSTGRES_KEY, rows)

    _ADD_OUTBOX_KEY: Final = """
        INSERT INTO outbox_key VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET parked = max(parked, excluded.parked)
    """

    def add_outbox_rows(self, rows: Iterable[tuple[str, bool]]) -> None:
        """Add outbox rows: the public key, and whether the row is parked."""
        self._file.executemany(self._ADD_OUTBOX_KEY, ((bytes.fromhex(key), parked) for key, parked in rows))

    _ADD_TOPIC_RECORD: Final = """
        INSERT INTO topic_key VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE
        SET version = excluded.version, digest = excluded.digest,
            newest_version = max(newest_version, excluded.newest_version),
            organization_id = coalesce(excluded.organization_id, organization_id),
            project_id = coalesce(excluded.project_id, project_id)
    """

    def add_topic_records(self, records: Iterable[TopicRecord]) -> None:
        """Add records of the topic; records of a key must be in the order of their offsets."""
        self._file.executemany(self._ADD_TOPIC_RECORD, map(_topic_row, records))

    _FIND_DIFFERENCES: Final = f"""
        SELECT * FROM (
            SELECT CASE
                       WHEN outbox_key.parked THEN '{Kind.PARKED}'
                       WHEN outbox_key.key IS NOT NULL THEN NULL
                       WHEN postgres_key.digest IS NULL AND topic_key.digest IS NOT NULL THEN '{Kind.WRONGLY_PRESENT}'
                       WHEN postgres_key.digest IS NULL THEN NULL
                       WHEN topic_key.newest_version > postgres_key.version THEN '{Kind.PHANTOM}'
                       WHEN topic_key.digest IS NULL THEN '{Kind.MISSING}'
                       WHEN topic_key.version = postgres_key.version AND topic_key.digest = postgres_key.former_digest
                           THEN '{Kind.OUTDATED_FORM}'
                       WHEN topic_key.version <> postgres_key.version OR topic_key.digest <> postgres_key.digest
                           THEN '{Kind.STALE}'
                   END AS kind,
                   lower(hex(postgres_key.key)), postgres_key.version, coalesce(topic_key.version, 0),
                   coalesce(topic_key.newest_version, 0), NULL, NULL
            FROM postgres_key
            LEFT JOIN topic_key ON topic_key.key = postgres_key.key
            LEFT JOIN outbox_key ON outbox_key.key = postgres_key.key
            UNION ALL
            SELECT '{Kind.PHANTOM}', lower(hex(key)), 0, version, newest_version, organization_id, project_id
            FROM topic_key
            WHERE digest IS NOT NULL AND key NOT IN (SELECT key FROM postgres_key)
              AND key NOT IN (SELECT key FROM outbox_key)
        )
        WHERE kind IS NOT NULL
    """

    def find_differences(self) -> Iterator[Difference]:
        """Return the differences; keys with events in the outbox are left out unless they are parked."""
        return map(_difference, self._file.execute(self._FIND_DIFFERENCES))

    _ADD_DIFFERENCE: Final = "INSERT INTO difference VALUES (?, ?, ?, ?, ?, ?, ?)"

    def add_differences(self, differences: Iterable[Difference]) -> None:
        """Add confirmed differences."""
        self._file.executemany(self._ADD_DIFFERENCE, differences)

    _SELECT_DIFFERENCES: Final = "SELECT * FROM difference WHERE (? IS NULL OR kind = ?) ORDER BY key"

    def differences(self, kind: Kind | None = None) -> Iterator[Difference]:
        """Return the confirmed differences of ``kind``, or of all kinds for None, sorted by public key."""
        return map(_difference, self._file.execute(self._SELECT_DIFFERENCES, (kind, kind)))

    _COUNT_DIFFERENCES: Final = "SELECT kind, count(*) FROM difference GROUP BY kind"

    def count_differences(self) -> dict[Kind, int]:
        """Return the number of confirmed differences by kind, without the kinds that have none."""
        return {Kind(kind): count for kind, count in self._file.execute(self._COUNT_DIFFERENCES)}

    _COUNT_KEYS: Final = """
        SELECT (SELECT count(*) FROM postgres_key WHERE digest IS NOT NULL),
               (SELECT count(*) FROM outbox_key WHERE NOT parked)
    """

    def count_keys(self) -> tuple[int, int]:
        """Return the number of keys in Postgres, and of keys with unpublished events that are not parked."""
        keys, in_flight = self._file.execute(self._COUNT_KEYS).fetchone()
        return int(keys), int(in_flight)


def _digest(state: Mapping[str, Any]) -> bytes:
    """Return a digest of ``state`` that does not depend on the order of its members."""
    return blake2b(orjson.dumps(state, option=orjson.OPT_SORT_KEYS), digest_size=_DIGEST_BYTES).digest()


def _digests(state: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the digests of ``state`` and of the state as earlier releases published it."""
    return _digest(state), _digest({name: state[name] for name in state if name not in ADDED_MEMBERS})


def _topic_row(record: TopicRecord) -> Sequence[object]:
    key = bytes.fromhex(record.public_key)
    if not record.state:  # a tombstone, or a record that cannot be decoded
        return key, record.version, record.state, record.version, None, None
    state = orjson.loads(record.state)
    tenant = state["organizationId"], state["projectId"]
    return key, record.version, _digest(state), record.version, *tenant


def _difference(row: tuple[Any, ...]) -> Difference:
    kind, *values = row
    return Difference(Kind(kind), *values)
