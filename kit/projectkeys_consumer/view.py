"""The table that serves lookups, and the table that replaces it while the topic is read from its beginning."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from projectkeys_consumer.errors import MalformedRecordError
from projectkeys_consumer.records import parse_record
from projectkeys_consumer.state import Change
from projectkeys_consumer.table import KeyTable

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """Number of records by result.

    Attributes:
        applied: Newer than the known version.
        outdated: Not newer: duplicates, replayed events, and the tombstones that follow deletions.
        ignored: Of an unknown type, or a control record of the service.
        malformed: Of a known type, but not as the schema requires; skipped.
    """

    applied: int = 0
    outdated: int = 0
    ignored: int = 0
    malformed: int = 0


class KeyView:
    """The current state of all keys. During a rebuild, the previous complete table keeps serving lookups."""

    def __init__(self) -> None:
        self.table = KeyTable()
        self.complete = False
        self.counts = Counts()
        self._rebuild: KeyTable | None = KeyTable()

    @property
    def rebuilding(self) -> bool:
        """Whether the topic is being read from its beginning."""
        return self._rebuild is not None

    def version(self, key: bytes) -> int:
        """Return the version of a key; 0 if none is known."""
        return self.table.version(key)

    def change(self, key: bytes) -> Change:
        """Return the current state of a key as a change."""
        return Change(key.hex(), self.table.version(key), self.table.get(key))

    def restore(self, table: KeyTable) -> None:
        """Serve a complete table and apply further records to it."""
        self.table, self._rebuild, self.complete = table, None, True

    def start_rebuild(self) -> None:
        """Start a new table, for reading the topic from its beginning."""
        self._rebuild = KeyTable(shared_with=self.table)

    def apply(self, records: Iterable[Any]) -> list[bytes]:
        """Apply records of aiokafka; return the keys that changed in the table that serves lookups."""
        table = self.table if self._rebuild is None else self._rebuild
        changed = []
        for record in records:
            try:
                update = parse_record(record)
            except MalformedRecordError as error:
                self._skip(record, error)
                continue
            if update is None:
                self.counts.ignored += 1
            elif table.apply(update):
                self.counts.applied += 1
                changed.append(update.key)
            else:
                self.counts.outdated += 1
        return changed if table is self.table else []

    def _skip(self, record: Any, error: MalformedRecordError) -> None:
        self.counts.malformed += 1
        # Powers of two only: many malformed records must not flood the log.
        if self.counts.malformed.bit_count() == 1:
            _log.warning(
                "Skipped the record at offset %d of %s-%d (malformed records so far: %d): %s",
                record.offset,
                record.topic,
                record.partition,
                self.counts.malformed,
                error,
            )

    def finish_rebuild(self) -> list[bytes]:
        """Serve lookups from the rebuilt table; return the keys that changed."""
        if self._rebuild is None:
            return []
        previous, self.table, self._rebuild = self.table, self._rebuild, None
        self.table.release_shared()
        if self.complete:
            return list(self.table.differences(previous))
        self.complete = True
        return []
