"""Models of Postgres and Kafka for the publisher's protocol: one shard's rows, its lease and its partition."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from service.domain.events import OutboxRow
from service.kafka.records import Part, parts_of
from service.publisher.shard_queue import PendingRecord

SHARD = 0


class ViolationError(AssertionError):
    """The log contains a record that it must not contain, or lacks one."""


class Tables:
    """The outbox and the shard's lease. Every method is one statement."""

    def __init__(self) -> None:
        self.rows: dict[int, OutboxRow] = {}
        self.parked: set[int] = set()
        self.newest = 0
        self.owner: int | None = None
        self.epoch = 0
        self.expired = False
        self.server_started_at = datetime(2026, 1, 1, tzinfo=UTC)
        self._standby: dict[str, Any] = {}
        self.former_primary: Tables | None = None
        self.replicate()

    def replicate(self) -> None:
        """Let the standby catch up."""
        state = {name: value for name, value in vars(self).items() if name != "_standby"}
        self._standby = {**state, "rows": dict(self.rows), "parked": set(self.parked)}

    def fail_over(self) -> None:
        """Promote the standby: what happened since it caught up is lost; the former primary still answers reads."""
        former = copy.copy(self)
        vars(self).update(self._standby)
        self.former_primary = former
        self.server_started_at += timedelta(seconds=1)
        self.replicate()

    def draw_seq(self) -> int:
        """Return the next seq; it is drawn in a transaction that may commit later or never."""
        self.newest += 1
        return self.newest

    def select(self, limit: int, held: frozenset[int]) -> list[OutboxRow]:
        """Return the oldest rows that are not held, not parked and do not follow a parked row of their key."""
        blocked: set[str] = set()
        rows = []
        for seq in sorted(self.rows):
            row = self.rows[seq]
            if seq in self.parked:
                blocked.add(row.event.public_key)
            elif row.event.public_key not in blocked and seq not in held:
                rows.append(row)
                if len(rows) == limit:
                    break
        return rows

    def is_current(self, epoch: int, server_started_at: datetime | None) -> bool:
        """Return whether neither the shard's epoch nor the server has changed."""
        return (epoch, server_started_at) == (self.epoch, self.server_started_at)

    def delete(self, seqs: Sequence[int], epoch: int, server_started_at: datetime | None) -> None:
        """Delete rows, unless the shard's epoch or the server has changed."""
        if self.is_current(epoch, server_started_at):
            for seq in seqs:
                self.rows.pop(seq, None)

    def park(self, seq: int, epoch: int, server_started_at: datetime | None) -> None:
        """Park a row, unless the shard's epoch or the server has changed."""
        if self.is_current(epoch, server_started_at) and seq in self.rows:
            self.parked.add(seq)

    def renew_or_claim(self, name: int) -> dict[int, int]:
        """Renew the lease or claim a free one; return the epochs of the shards that ``name`` owns."""
        if self.owner != name:
            if self.owner is not None and not self.expired:
                return {}
            self.owner, self.epoch = name, self.epoch + 1
        self.expired = False
        return {SHARD: self.epoch}

    def release(self, name: int) -> None:
        """Release the shard."""
        if self.owner == name:
            self.owner = None

    def newest_seq_if_owner(self, name: int, epoch: int) -> tuple[int, datetime] | None:
        """Return the highest seq drawn so far and when the server started.

        None if ``name`` does not own the shard in ``epoch``.
        """
        is_owner = (self.owner, self.epoch) == (name, epoch) and not self.expired
        return (self.newest, self.server_started_at) if is_owner else None


@dataclass(slots=True, eq=False)
class Request:
    """A produce request in the network, for any time; without records it has a fence or a heartbeat.

    Attributes:
        sender: The process.
        epoch: The producer epoch.
        records: What is to be appended.
        awaited: Whether the process still waits for the response.
        arrived: Whether the broker has processed it.
        taken: How many records were appended.
        fenced: Whether the epoch was rejected.
        rejected: Whether a record was rejected for good.
    """

    sender: int
    epoch: int
    records: Sequence[PendingRecord]
    awaited: bool = True
    arrived: bool = False
    taken: int = 0
    fenced: bool = False
    rejected: bool = False


@dataclass(slots=True)
class Partition:
    """The log of one partition, which checks every record that is appended.

    Attributes:
        epoch: The highest epoch of an appended record; older epochs are fenced.
        drawn: The highest epoch of a session.
        unacceptable: The seqs of rows that are rejected, together with their batches.
        committed: All committed rows by seq.
        log: Seq and part of each record, by key.
        first_copies: As `log`, without duplicates.
    """

    epoch: int = 0
    drawn: int = 0
    unacceptable: set[int] = field(default_factory=set)
    committed: dict[int, OutboxRow] = field(default_factory=dict)
    log: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    first_copies: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def draw_epoch(self) -> int:
        """Return the epoch of a new session."""
        self.drawn += 1
        return self.drawn

    def is_fenced(self, request: Request) -> bool:
        """Whether a later session has appended a record."""
        return request.epoch < self.epoch

    def process(self, request: Request, limit: int) -> None:
        """Append at most ``limit`` of the request's records, or none."""
        request.arrived = True
        if self.is_fenced(request):
            request.fenced = True
        elif any(record.row.seq in self.unacceptable for record in request.records):
            request.rejected = True
        else:
            self.epoch = request.epoch
            taken = request.records[:limit]
            request.taken = max(1, len(taken))
            for record in taken:
                self._append(record)

    def _append(self, record: PendingRecord) -> None:
        key, copy = record.row.event.public_key, (record.row.seq, record.part.value)
        if self.committed.get(record.row.seq) is not record.row:
            raise ViolationError(f"{record.row} was never committed")
        self.log.setdefault(key, []).append(copy)
        first = self.first_copies.setdefault(key, [])
        if copy not in first:
            if first and copy < first[-1]:
                raise ViolationError(f"{copy} of {key} comes after {first[-1]}")
            first.append(copy)

    def check_end(self, last: dict[str, OutboxRow], discarded: set[int]) -> None:
        """Check after recovery that no event is lost and that each key's last record is its last change."""
        for seq, row in self.committed.items():
            for part in () if seq in discarded else parts_of(row.event):
                if (seq, part.value) not in self.first_copies.get(row.event.public_key, ()):
                    raise ViolationError(f"{part} of row {seq} of {row.event.public_key} was lost")
        for key, row in last.items():
            seq, last_part = self.log[key][-1]
            published = self.committed[seq].event
            if published.version != row.event.version:
                raise ViolationError(f"{key} ends with version {published.version}, not {row.event.version}")
            if (Part(last_part) is Part.TOMBSTONE) != (parts_of(row.event)[-1] is Part.TOMBSTONE):
                raise ViolationError(f"{key} ends with {Part(last_part)} of row {seq}")
