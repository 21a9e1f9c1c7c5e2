"""How far the topic has been read, and the time up to which the copy is complete."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the copy is behind the topic.

    Attributes:
        records: Number of known records that have not been read; None before the brokers have reported their offsets.
        seconds: Age of the copy: everything that was in the topic this long ago has been applied. Below one second in
            normal operation; grows while Kafka is unavailable; None before the topic has been read once.
        idle_seconds: Seconds since the newest record (an event or a heartbeat) of the partition that has been without
            records for longest; None if a partition has had none. With heartbeats it shows that the service runs.
        delivery_seconds: Seconds from the timestamp of the record read last to its arrival, by this machine's clock;
            negative if this clock is behind that of the service. None before the first new record.
    """

    records: int | None
    seconds: float | None
    idle_seconds: float | None
    delivery_seconds: float | None = None


class ReadProgress:
    """Positions of the partitions, and the target that they have to reach.

    A target is a timestamp with the end offsets of all partitions at that time. When all positions have reached these
    offsets, the copy is complete as of the timestamp and the next target is set, so the timestamp also advances while
    records arrive continuously.

    ``complete_as_of`` is the timestamp of the last reached target (Unix time, seconds) or, before the first one, the
    time at which reading began. Deletions before it cannot have been missed.
    """

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.complete_as_of: float | None = None
        self.delivery_seconds: float | None = None
        self._ends: dict[int, int] = {}
        self._target: dict[int, int] = {}
        self._target_time = 0.0
        self._newest_records: dict[int, float] = {}

    def begin(self, positions: Mapping[int, int], ends: Mapping[int, int], *, now: float) -> None:
        """Start reading at these positions, and set the first target (Unix time, seconds)."""
        self.positions = dict(positions)
        self._ends, self._target, self._target_time = dict(ends), dict(ends), now
        if self.complete_as_of is None:
            self.complete_as_of = now

    def advance(self, positions: Mapping[int, int], ends: Mapping[int, int], *, responded_at: float | None) -> bool:
        """Record that everything before ``positions`` has been read; return whether the target has been reached.

        Args:
            positions: of every partition.
            ends: end offsets from the brokers' latest responses.
            responded_at: time of the oldest of these responses (Unix time, seconds); None if a partition had none.
        """
        self.positions = dict(positions)
        self._ends.update(ends)
        if not self._target_reached:
            return False
        self.complete_as_of = self._target_time
        if responded_at is not None:
            self._target, self._target_time = dict(self._ends), max(responded_at, self._target_time)
            if self._target_reached:  # the usual case while no records arrive
                self.complete_as_of = self._target_time
        return True

    @property
    def _target_reached(self) -> bool:
        return all(self.positions[partition] >= end for partition, end in self._target.items())

    def add_record(self, partition: int, timestamp: float) -> None:
        """Note the timestamp of a record (Unix time, seconds)."""
        self._newest_records[partition] = max(timestamp, self._newest_records.get(partition, 0.0))

    @property
    def unread_records(self) -> int | None:
        """Number of records between the positions and the ends; None before the ends are known."""
        if not self._ends:
            return None
        return sum(max(0, end - self.positions[partition]) for partition, end in self._ends.items())

    def idle_seconds(self, now: float) -> float | None:
        """Return the seconds since the newest record of the partition that has been without one for longest."""
        if not self.positions or self._newest_records.keys() < self.positions.keys():
            return None
        return max(0.0, now - min(self._newest_records.values()))
