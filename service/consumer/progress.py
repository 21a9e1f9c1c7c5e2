"""How far the topic has been read, and as of when everything in it is known."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind Kafka a reader is.

    Attributes:
        records: What is known to be in the topic and not read yet; None before the brokers have told.
        seconds: Since when something may have been missed: everything that was in Kafka so many seconds ago has been
            applied. Below a second while all is well; grows while Kafka is away; None before all has been read once.
        quiet: Seconds since the youngest record, a heartbeat perhaps, of the partition that has had none for longest;
            None where one has never had any. With heartbeats it tells that the service itself is at work.
    """

    records: int | None
    seconds: float | None
    quiet: float | None


class Progress:
    """Positions, and the marks that they pass.

    A mark is a moment with the partitions' ends at it: once the positions have passed all of them, everything is
    known as of that moment. The next mark is set then, so this works too while records come all the time.

    ``since`` is the moment before which nothing that was read can have been overtaken by a deletion whose tombstone
    is gone already: the last mark's, or the one at which reading from the beginning began.
    """

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.since: float | None = None
        self._ends: dict[int, int] = {}
        self._mark: dict[int, int] = {}
        self._mark_at = 0.0
        self._youngest: dict[int, float] = {}

    def begin(self, positions: Mapping[int, int], ends: Mapping[int, int], *, at: float) -> None:
        """A session begins at these positions; the first mark is set."""
        self.positions = dict(positions)
        self._ends, self._mark, self._mark_at = dict(ends), dict(ends), at
        if self.since is None:
            self.since = at

    def advance(
        self, positions: Mapping[int, int], ends: Mapping[int, int], *, answered_at: float | None
    ) -> bool:
        """All before ``positions`` has been read; whether the mark has been passed.

        Args:
            positions: of every partition.
            ends: those that the brokers have told.
            answered_at: when each of them had been told (Unix time); None if not each has.
        """
        self.positions = dict(positions)
        self._ends.update(ends)
        if not self._passed:
            return False
        self.since = self._mark_at
        if answered_at is not None:
            self._mark, self._mark_at = dict(self._ends), max(answered_at, self._mark_at)
            if self._passed:  # at once, while nothing comes
                self.since = self._mark_at
        return True

    @property
    def _passed(self) -> bool:
        return all(self.positions[partition] >= end for partition, end in self._mark.items())

    def saw(self, partition: int, written_at: float) -> None:
        """A record came that was written at this time (Unix time, seconds)."""
        self._youngest[partition] = max(written_at, self._youngest.get(partition, 0.0))

    @property
    def behind(self) -> int | None:
        """Records between the positions and the ends."""
        if not self._ends:
            return None
        return sum(max(0, end - self.positions[partition]) for partition, end in self._ends.items())

    def quiet(self, now: float) -> float | None:
        """Seconds since the youngest record of the partition that has had none for longest."""
        if not self.positions or self._youngest.keys() < self.positions.keys():
            return None
        return max(0.0, now - min(self._youngest.values()))
