"""Postgres and Kafka as far as the publisher's protocol needs them: one shard's rows, its lease, its partition."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.domain.events import OutboxRow
from service.kafka.records import Part, parts_of
from service.publisher.shard_queue import Waiting

SHARD = 0


class ViolationError(AssertionError):
    """The log has something that must never be in it, or not there."""


class Tables:
    """The outbox and the shard's lease. Every method is one statement."""

    def __init__(self) -> None:
        self.rows: dict[int, OutboxRow] = {}
        self.parked: set[int] = set()
        self.newest = 0
        self.owner: int | None = None
        self.epoch = 0
        self.lapsed = False

    def draw(self) -> int:
        """The next row's number: drawn in its transaction, whenever that commits."""
        self.newest += 1
        return self.newest

    def select(self, limit: int) -> list[OutboxRow]:
        """The oldest rows that are not parked and do not wait behind a parked one of their key."""
        waiting: set[str] = set()
        found = []
        for seq in sorted(self.rows):
            row = self.rows[seq]
            if seq in self.parked:
                waiting.add(row.event.public_key)
            elif row.event.public_key not in waiting:
                found.append(row)
                if len(found) == limit:
                    break
        return found

    def delete(self, seqs: Sequence[int], epoch: int) -> None:
        """Delete rows, unless the shard has changed hands since ``epoch``."""
        if epoch == self.epoch:
            for seq in seqs:
                self.rows.pop(seq, None)

    def park(self, seq: int, epoch: int) -> None:
        """Park a row, unless the shard has changed hands since ``epoch``."""
        if epoch == self.epoch and seq in self.rows:
            self.parked.add(seq)

    def hold(self, name: int) -> dict[int, int]:
        """Renew the lease or take a free one; the epochs of what ``name`` has then."""
        if self.owner != name:
            if self.owner is not None and not self.lapsed:
                return {}
            self.owner, self.epoch = name, self.epoch + 1
        self.lapsed = False
        return {SHARD: self.epoch}

    def release(self, name: int) -> None:
        """Give the shard back."""
        if self.owner == name:
            self.owner = None

    def newest_if_owner(self, name: int, epoch: int) -> int | None:
        """The greatest number drawn so far, or None if the shard is not ``name``'s in ``epoch``."""
        return self.newest if (self.owner, self.epoch) == (name, epoch) and not self.lapsed else None


@dataclass(slots=True, eq=False)
class Request:
    """A batch on its way to the broker, nobody knows for how long; without records it is a fence or a heartbeat.

    ``awaited``: somebody still hopes for an answer; ``taken``: how many records were appended, once it has arrived;
    ``refused``: one of them never will be.
    """

    sender: int
    epoch: int
    records: Sequence[Waiting]
    awaited: bool = True
    arrived: bool = False
    taken: int = 0
    fenced: bool = False
    refused: bool = False


@dataclass(slots=True)
class Partition:
    """The log of one partition, and the check of what is appended to it.

    Attributes:
        epoch: the newest under which something was appended: nothing older is taken any more.
        drawn: the newest that the coordinator has given out.
        unfit: the numbers of rows that are refused, with the batches that they are in.
        log: number and part of each record, by key.
    """

    epoch: int = 0
    drawn: int = 0
    unfit: set[int] = field(default_factory=set)
    committed: dict[int, OutboxRow] = field(default_factory=dict)
    log: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    first_copies: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def draw_epoch(self) -> int:
        """Begin a session."""
        self.drawn += 1
        return self.drawn

    def fences_off(self, request: Request) -> bool:
        """Whether a later session has appended something."""
        return request.epoch < self.epoch

    def take(self, request: Request, most: int) -> None:
        """The request arrives: at most ``most`` of its records are appended, or none."""
        request.arrived = True
        if self.fences_off(request):
            request.fenced = True
        elif any(one.row.seq in self.unfit for one in request.records):
            request.refused = True
        else:
            self.epoch = request.epoch
            taken = request.records[:most]
            request.taken = max(1, len(taken))
            for one in taken:
                self._append(one)

    def _append(self, one: Waiting) -> None:
        key, copy = one.row.event.public_key, (one.row.seq, one.part.value)
        if self.committed.get(one.row.seq) is not one.row:
            raise ViolationError(f"{one.row} was never committed")
        self.log.setdefault(key, []).append(copy)
        first = self.first_copies.setdefault(key, [])
        if copy not in first:
            if first and copy < first[-1]:
                raise ViolationError(f"{copy} of {key} comes after {first[-1]}")
            first.append(copy)

    def check_end(self, last: dict[str, OutboxRow], discarded: set[int]) -> None:
        """When everything is healed: nothing is lost, and each key's last record tells of its last change."""
        for seq, row in self.committed.items():
            for part in () if seq in discarded else parts_of(row.event):
                if (seq, part.value) not in self.first_copies.get(row.event.public_key, ()):
                    raise ViolationError(f"{part} of row {seq} of {row.event.public_key} was lost")
        for key, row in last.items():
            seq, last_part = self.log[key][-1]
            told = self.committed[seq].event
            if told.version != row.event.version:
                raise ViolationError(f"{key} ends with version {told.version}, not {row.event.version}")
            if (Part(last_part) is Part.TOMBSTONE) != (parts_of(row.event)[-1] is Part.TOMBSTONE):
                raise ViolationError(f"{key} ends with {Part(last_part)} of row {seq}")
