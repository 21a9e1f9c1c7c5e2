"""A shard of the outbox while this process owns it: what waits, what is on its way, what is acknowledged.

These are the rules of the publisher, apart from all input and output, so that a model can try them in every order
of events (`tests/test_publisher_model.py`).
"""

from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from service.domain.events import REPLAYED, OutboxRow
from service.kafka.records import Part, parts_of
from service.kafka.types import Session

WINDOW: Final = 400
"""Rows of one shard that are held in memory at most; the rest waits in the table."""

_FIRST_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record to be sent, and when its row's transaction committed as far as is known (Unix time, seconds).

    ``ends_row``: with it, Kafka has all of the row.
    """

    row: OutboxRow
    part: Part
    ends_row: bool
    committed_at: float


class State(Enum):
    """Whether the shard's rows can be sent."""

    CLOSED = auto()
    OPENING = auto()
    LIVE = auto()


class OwnedShard:
    """The memory of one shard under one epoch; it does no input or output.

    Every row is in the table until it is acknowledged and deleted, so all of this may be forgotten at any time:
    the price is a duplicate, never a loss.
    """

    def __init__(self, number: int, epoch: int) -> None:
        self.number = number
        self.epoch = epoch
        self.state = State.CLOSED
        self.session: Session | None = None
        self.failures = 0
        self.retry_at = 0.0
        self.leaving = False
        self.reading_due = True
        self.heartbeat_due = False
        self._queue: deque[Waiting] = deque()
        self._sending: list[Waiting] = []
        self._busy = False
        self._held: set[int] = set()
        self._suspects = 0
        self._passed = 0

    @property
    def idle(self) -> bool:
        """Nothing is on its way."""
        return not self._busy and self.state is not State.OPENING

    @property
    def sendable(self) -> bool:
        """There are rows to send and nothing stands before them."""
        return self._may_send and bool(self._queue)

    @property
    def can_beat(self) -> bool:
        """A heartbeat is due and no row has to wait for it."""
        return self.heartbeat_due and self._may_send and not self._queue

    @property
    def _may_send(self) -> bool:
        return self.state is State.LIVE and not self.leaving and not self._busy

    @property
    def room(self) -> int:
        """How many more rows may be held."""
        return WINDOW - len(self._held)

    def opened(self, session: Session, newest: int) -> None:
        """The fence stands: rows may be sent, beginning with those in the table.

        Args:
            session: what they are sent in.
            newest: the greatest row number drawn before that: an earlier owner may have sent rows up to it.
        """
        self.session = session
        self.state = State.LIVE
        self.reading_due = True
        self._passed = max(self._passed, newest)

    def hand_over(self, row: OutboxRow, committed_at: float) -> bool:
        """Take a row from memory, just after its commit; False if it has to come through the table."""
        if row.seq in self._held:
            return True
        if self.state is not State.LIVE or self.leaving or self.room <= 0 or not self._is_first(row):
            self.reading_due = True
            return False
        self._add(row, committed_at)
        return True

    def _is_first(self, row: OutboxRow) -> bool:
        """Whether nothing of the row's key can stand in the log, or have to go there, before it or after it.

        A later version could overtake a row that another process committed and that this one has not read yet. And
        a first one whose commit was long in telling may itself be late: its next version may have been sent from the
        table, by this process or by an earlier owner, and then has a greater number.
        """
        event = row.event
        return event.version == _FIRST_VERSION and REPLAYED not in event.headers and row.seq > self._passed

    def begin_reading(self) -> Session | None:
        """The table is about to be read; returns the session for which that is."""
        self.reading_due = False  # before the reading: what comes while it lasts is due again
        return self.session

    def take_from_table(self, rows: Iterable[OutboxRow], read_for: Session | None) -> None:
        """Take what the table holds, in its order, but for rows that are held already.

        Nothing is taken if the session ``read_for`` is over: one of its rows may have been parked since.
        """
        if read_for is None or read_for is not self.session:
            self.reading_due = True
            return
        for row in rows:
            if self.room > 0 and row.seq not in self._held:
                self._add(row, row.event.occurred_at.timestamp())
                if row.event.version != _FIRST_VERSION:
                    self._passed = max(self._passed, row.seq)

    def _add(self, row: OutboxRow, committed_at: float) -> None:
        self._held.add(row.seq)
        *first, last = parts_of(row.event)
        self._queue.extend(Waiting(row, part, ends_row=False, committed_at=committed_at) for part in first)
        self._queue.append(Waiting(row, last, ends_row=True, committed_at=committed_at))

    def next_batch(self, most: int) -> list[Waiting]:
        """The oldest records, at most ``most``; they are on their way from now on.

        One by one while it is not known which of them Kafka will not have.
        """
        most = 1 if self._suspects else min(most, len(self._queue))
        self._sending = [self._queue.popleft() for _ in range(most)]
        self._busy = True
        return self._sending

    def beat(self) -> None:
        """A heartbeat is on its way from now on, alone."""
        self.heartbeat_due = False
        self._busy = True

    def acknowledged(self, count: int) -> list[Waiting]:
        """Kafka has the first ``count`` of what was on its way; returns those that end their rows.

        These rows are held until they are deleted. The rest waits again, before everything else.
        """
        has, rest = self._sending[:count], self._sending[count:]
        self._queue.extendleft(reversed(rest))
        self._sending = []
        self._busy = False
        self._suspects = max(0, self._suspects - len(has))
        self.failures = 0
        return [one for one in has if one.ends_row]

    def deleted(self, seq: int) -> None:
        """This row is gone from the table."""
        self._held.discard(seq)

    def failed(self, retry_at: float) -> None:
        """The session is dead and what was on its way uncertain: all of it comes through the table again."""
        self._held.difference_update(one.row.seq for one in (*self._sending, *self._queue))
        self._sending = []
        self._queue.clear()
        self._busy = False
        self.session = None
        self.state = State.CLOSED
        self.failures += 1
        self.retry_at = retry_at

    def refused(self, retry_at: float) -> OutboxRow | None:
        """Kafka will not have one of the records that were on their way, and the session is dead.

        Returns:
            The row to be parked before the table is read again; None while it is not known which one it is.
        """
        sent = self._sending
        self.failed(retry_at)
        if len(sent) != 1:
            self._suspects = len(sent)
            return None
        self._suspects = max(0, self._suspects - 1)
        self.failures = 0
        return sent[0].row


def hold(shards: MutableMapping[int, OwnedShard], held: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """Make ``shards`` those of the leases ``held``, epochs by shard; returns which were lost and which gained."""
    lost = [number for number, shard in shards.items() if held.get(number) != shard.epoch]
    for number in lost:
        del shards[number]
    gained = [number for number in held if number not in shards]
    shards.update({number: OwnedShard(number, held[number]) for number in gained})
    return lost, gained
