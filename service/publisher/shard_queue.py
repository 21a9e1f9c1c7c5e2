"""The queue of one shard.

These are the rules of the publisher without input or output; `tests/test_publisher_model.py` applies them in random
orders of events.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from service.domain.events import REPLAYED, OutboxRow
from service.kafka.records import Part, parts_of
from service.kafka.types import ProducerSession

WINDOW: Final = 800
"""Rows of one shard that are held in memory at most: two batches are sent while others are read and deleted."""

_FIRST_VERSION: Final = 1


@dataclass(slots=True)  # not frozen: see `service.domain.model.NewProjectKey`
class PendingRecord:
    """A record to be sent.

    Attributes:
        row: The outbox row.
        part: Which record of the row this is.
        ends_row: Whether it is the last record of the row.
        committed_at: When the row's transaction committed, in seconds since 1970; for a row that was read from the
            table, when its event occurred.
    """

    row: OutboxRow
    part: Part
    ends_row: bool
    committed_at: float


class State(Enum):
    """State of the shard's producer session."""

    CLOSED = auto()
    OPENING = auto()
    OPEN = auto()


class ShardQueue:
    """Rows of one shard under one epoch: queued, in flight, or acknowledged and not yet deleted.

    Every row is in the table until it is acknowledged and deleted, so a queue may be dropped at any time: records
    can be sent twice, but none is lost. All changes of state are methods.
    """

    def __init__(self, number: int, epoch: int) -> None:
        self.number: Final = number
        self.epoch: Final = epoch
        self._state = State.CLOSED
        self._session: ProducerSession | None = None
        self._server_started_at: datetime | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._draining = False
        self._read_due = True
        self._heartbeat_due = False
        self._queue: deque[PendingRecord] = deque()
        self._in_flight: list[PendingRecord] = []
        self._request_pending = False
        self._held_seqs: set[int] = set()
        self._read_limit = 0
        self._isolate_remaining = 0
        self._high_seq = 0

    @property
    def state(self) -> State:
        """State of the producer session."""
        return self._state

    @property
    def session(self) -> ProducerSession | None:
        """The open producer session; None unless the state is OPEN."""
        return self._session

    @property
    def server_started_at(self) -> datetime | None:
        """When the database server with the rows started; another one after a failover; None before a session."""
        return self._server_started_at

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._failures

    @property
    def draining(self) -> bool:
        """Whether the shard is about to be released: no row is accepted or sent any more."""
        return self._draining

    @property
    def idle(self) -> bool:
        """Whether no request is pending."""
        return not self._request_pending and self._state is not State.OPENING

    @property
    def can_send(self) -> bool:
        """Whether a batch can be sent now."""
        return self._may_send and bool(self._queue)

    @property
    def can_send_heartbeat(self) -> bool:
        """Whether a heartbeat is due and delays no row."""
        return self._heartbeat_due and self._may_send and not self._queue

    @property
    def can_read(self) -> bool:
        """Whether the table has to be read and there is space for the result."""
        return self._read_due and self._accepts_rows and self.read_slots >= WINDOW // 4

    @property
    def read_due(self) -> bool:
        """Whether the table may hold rows that are not in the queue."""
        return self._read_due

    @property
    def free_slots(self) -> int:
        """How many more rows can be held."""
        return WINDOW - len(self._held_seqs)

    @property
    def read_slots(self) -> int:
        """How many rows a read may return: new keys of this process do not wait until a backlog is published."""
        return self.free_slots - WINDOW // 8

    @property
    def held_seqs(self) -> Collection[int]:
        """The seqs of the rows that are held."""
        return self._held_seqs

    @property
    def _accepts_rows(self) -> bool:
        return self._state is State.OPEN and not self._draining

    @property
    def _may_send(self) -> bool:
        return self._accepts_rows and not self._request_pending

    def can_open(self, now: float) -> bool:
        """Whether a session should be opened at ``now``, in seconds of the monotonic clock."""
        return self._state is State.CLOSED and not self._draining and self._retry_at <= now

    def begin_opening(self) -> None:
        """Start to open a session."""
        self._state = State.OPENING

    def finish_opening(self, session: ProducerSession, *, newest_seq: int, server_started_at: datetime) -> None:
        """Use ``session`` from now on, beginning with the rows in the table.

        Args:
            session: The session; earlier ones are fenced.
            newest_seq: The highest seq drawn after that: an earlier owner may have sent rows up to it.
            server_started_at: When the database server that returned ``newest_seq`` started.
        """
        if server_started_at != self._server_started_at:
            self._held_seqs.clear()  # acknowledged rows must be sent again, after earlier rows that came back
            self._server_started_at = server_started_at
        self._session = session
        self._state = State.OPEN
        self._read_due = True
        self._high_seq = max(self._high_seq, newest_seq)

    def start_draining(self) -> None:
        """Accept and send no more rows; the shard is about to be released."""
        self._draining = True

    def request_read(self) -> None:
        """Request a read of the table."""
        self._read_due = True

    def request_heartbeat(self) -> None:
        """Request a heartbeat."""
        self._heartbeat_due = True

    def enqueue(self, row: OutboxRow, *, committed_at: float) -> bool:
        """Add a row that this process has committed, unless it is held; return False if it has to be read."""
        if row.seq in self._held_seqs:
            return True
        if self.free_slots < 1 or not (self._accepts_rows and self._is_first_of_key(row)):
            self._read_due = True
            return False
        self._add(row, committed_at)
        return True

    def _add(self, row: OutboxRow, committed_at: float) -> None:
        self._held_seqs.add(row.seq)
        parts = parts_of(row.event)
        for part in parts:
            self._queue.append(PendingRecord(row, part, part is parts[-1], committed_at))

    def _is_first_of_key(self, row: OutboxRow) -> bool:
        """Whether no other record of the row's key is in the log or has to be sent before this one.

        A later version must come from the table: another process may have committed an earlier version that was not
        read yet. A first version can also be late: if the response to its COMMIT was delayed, this process or an
        earlier owner may already have read and sent the next version, which has a higher seq.
        """
        event = row.event
        return event.version == _FIRST_VERSION and REPLAYED not in event.headers and row.seq > self._high_seq

    def begin_read(self) -> ProducerSession | None:
        """Start a read of the table; return the session to be passed to `finish_read`."""
        self._read_due = False  # before the read: what is committed during it is due again
        self._read_limit = self.read_slots
        return self._session

    def finish_read(self, rows: Sequence[OutboxRow], session: ProducerSession | None) -> None:
        """Enqueue the rows of a read, which include all earlier rows of their keys.

        Rows of another session than the current one are ignored: a row may have been parked since.
        """
        if session is None or session is not self._session:
            self._read_due = True
            return
        for row in rows:
            if row.seq in self._held_seqs:
                continue
            if self.free_slots < 1:
                self._read_due = True
                break
            if row.event.version != _FIRST_VERSION:
                self._high_seq = max(self._high_seq, row.seq)
            self._add(row, row.event.occurred_at.timestamp())
        if len(rows) >= self._read_limit:
            self._read_due = True  # there may be more rows after these

    def next_batch(self, limit: int) -> list[PendingRecord]:
        """Take the oldest records, at most ``limit``, which are in flight then.

        While a rejected record is being isolated, a batch has one record.
        """
        count = 1 if self._isolate_remaining else min(limit, len(self._queue))
        self._in_flight = [self._queue.popleft() for _ in range(count)]
        self._request_pending = True
        return self._in_flight

    def begin_heartbeat(self) -> None:
        """Take the heartbeat that is due; it is in flight then, without other records."""
        self._heartbeat_due = False
        self._request_pending = True

    def acknowledge(self, count: int) -> list[PendingRecord]:
        """Handle the acknowledgement of the first ``count`` records in flight.

        The other records return to the head of the queue.

        Returns:
            The acknowledged records that end their rows; these rows are held until `remove_deleted`.
        """
        acknowledged, rest = self._in_flight[:count], self._in_flight[count:]
        self._queue.extendleft(reversed(rest))
        self._in_flight = []
        self._request_pending = False
        self._isolate_remaining = max(0, self._isolate_remaining - len(acknowledged))
        self._failures = 0
        return [record for record in acknowledged if record.ends_row]

    def remove_deleted(self, rows: Sequence[OutboxRow]) -> None:
        """Drop rows that were deleted from the table."""
        self._held_seqs.difference_update(row.seq for row in rows)

    def fail(self, retry_at: float) -> None:
        """Close the session; all rows that are not acknowledged have to be read from the table again.

        Args:
            retry_at: When to open the next session, in seconds of the monotonic clock.
        """
        self._held_seqs.difference_update(record.row.seq for record in (*self._in_flight, *self._queue))
        self._in_flight = []
        self._queue.clear()
        self._request_pending = False
        self._session = None
        self._state = State.CLOSED
        self._failures += 1
        self._retry_at = retry_at

    def reject(self, retry_at: float) -> OutboxRow | None:
        """Close the session because Kafka rejects one of the records in flight for good.

        Returns:
            The row to be parked before the table is read again; None while it is not known which row it is.
        """
        rejected = self._in_flight
        self.fail(retry_at)
        if len(rejected) != 1:
            self._isolate_remaining = len(rejected)
            return None
        self._isolate_remaining = max(0, self._isolate_remaining - 1)
        self._failures = 0
        return rejected[0].row
