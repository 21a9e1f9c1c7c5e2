"""A shard of the outbox while this process owns it: what waits, what is on its way, what is acknowledged."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from service.domain.events import OutboxRow
from service.kafka.producer import Session

WINDOW: Final = 400
"""Rows of one shard that are held in memory at most; the rest waits in the table."""

_FIRST_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row to be sent, and when its transaction committed as far as is known (Unix time, seconds)."""

    row: OutboxRow
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
        self._queue: deque[Waiting] = deque()
        self._sending: list[Waiting] = []
        self._held: set[int] = set()

    @property
    def idle(self) -> bool:
        """Nothing is on its way."""
        return not self._sending and self.state is not State.OPENING

    @property
    def sendable(self) -> bool:
        """There are rows to send and nothing stands before them."""
        return self.state is State.LIVE and not self.leaving and not self._sending and bool(self._queue)

    @property
    def room(self) -> int:
        """How many more rows may be held."""
        return WINDOW - len(self._held)

    def opened(self, session: Session) -> None:
        """The fence stands: rows may be sent, beginning with those in the table."""
        self.session = session
        self.state = State.LIVE
        self.reading_due = True

    def hand_over(self, row: OutboxRow, committed_at: float) -> bool:
        """Take a row from memory, just after its commit; False if it has to come through the table.

        Only a key's first version is taken: a later one could overtake a row that another process committed and
        that this one has not read yet.
        """
        if (
            self.state is not State.LIVE
            or self.leaving
            or row.event.version != _FIRST_VERSION
            or self.room <= 0
        ):
            self.reading_due = True
            return False
        self._add(row, committed_at)
        return True

    def take_from_table(self, rows: Iterable[OutboxRow]) -> None:
        """Take what the table holds, in its order, but for rows that are held already."""
        for row in rows:
            if self.room > 0:
                self._add(row, row.event.occurred_at.timestamp())

    def _add(self, row: OutboxRow, committed_at: float) -> None:
        if row.seq not in self._held:
            self._held.add(row.seq)
            self._queue.append(Waiting(row, committed_at))

    def next_batch(self, most: int) -> list[Waiting]:
        """The oldest rows, at most ``most``; they are on their way from now on."""
        self._sending = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        return self._sending

    def acknowledged(self, count: int) -> list[Waiting]:
        """Kafka has the first ``count`` of what was on its way: these, which are held until they are deleted.

        The rest waits again, before everything else.
        """
        has, rest = self._sending[:count], self._sending[count:]
        self._queue.extendleft(reversed(rest))
        self._sending = []
        self.failures = 0
        return has

    def deleted(self, seq: int) -> None:
        """This row is gone from the table."""
        self._held.discard(seq)

    def failed(self, retry_at: float) -> None:
        """The session is dead and what was on its way uncertain: all of it comes through the table again."""
        self._held.difference_update(one.row.seq for one in (*self._sending, *self._queue))
        self._sending = []
        self._queue.clear()
        self.session = None
        self.state = State.CLOSED
        self.failures += 1
        self.retry_at = retry_at
