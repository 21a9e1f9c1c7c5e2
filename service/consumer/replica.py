"""The table that is served, and the one that is being built while the topic is read from its beginning."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.consumer.errors import MalformedError
from service.consumer.records import told_by
from service.consumer.state import Change
from service.consumer.table import Table

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """Records by what became of them.

    Attributes:
        applied: Newer than what was held.
        outdated: Not newer: duplicates, replays, the tombstones that follow deletions.
        ignored: Of a type that is not known here, or the service's own marks.
        malformed: Of a known type, but not what the schemas promise; each was skipped.
    """

    applied: int = 0
    outdated: int = 0
    ignored: int = 0
    malformed: int = 0


class Replica:
    """What is known of all keys. While a new table is being built, an older one that was whole is served on."""

    def __init__(self) -> None:
        self.table = Table()
        self.complete = False
        self.counts = Counts()
        self._building: Table | None = Table()

    @property
    def building(self) -> bool:
        """Whether the topic is being read from its beginning."""
        return self._building is not None

    def version(self, key: bytes) -> int:
        """The version of a key that is served; 0 if none is."""
        return self.table.version(key)

    def change(self, key: bytes) -> Change:
        """A key as it is served."""
        return Change(key.hex(), self.table.version(key), self.table.get(key))

    def adopt(self, table: Table) -> None:
        """Serve a table that is whole, and go on from it."""
        self.table, self._building, self.complete = table, None, True

    def begin_anew(self) -> None:
        """Build a new table from the topic's beginning."""
        self._building = Table(like=self.table)

    def take(self, records: Iterable[Any]) -> list[bytes]:
        """Apply records of aiokafka; returns the keys that are other than before in the table that is served."""
        table = self.table if self._building is None else self._building
        changed = []
        for record in records:
            try:
                told = told_by(record)
            except MalformedError as error:
                self._skip(record, error)
                continue
            if told is None:
                self.counts.ignored += 1
            elif table.apply(told):
                self.counts.applied += 1
                changed.append(told.key)
            else:
                self.counts.outdated += 1
        return changed if table is self.table else []

    def _skip(self, record: Any, error: MalformedError) -> None:
        self.counts.malformed += 1
        # The first, the second, the fourth and so on: whoever floods the topic does not flood the log.
        if self.counts.malformed.bit_count() == 1:
            _log.warning(
                "Skipped the record at offset %d of %s-%d, number %d of its kind: %s",
                record.offset,
                record.topic,
                record.partition,
                self.counts.malformed,
                error,
            )

    def built(self) -> list[bytes]:
        """Serve the table that was being built; returns the keys that are other than before."""
        if self._building is None:
            return []
        before, self.table, self._building = self.table, self._building, None
        self.table.loaded()
        if self.complete:
            return list(self.table.differences(before))
        self.complete = True
        return []
