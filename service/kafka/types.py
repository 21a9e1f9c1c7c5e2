"""Records, producer sessions, batches and their outcomes."""

from collections.abc import Iterable
from dataclasses import dataclass

_MAX_SEQUENCE = 2**31 - 1


@dataclass(slots=True)  # not frozen: see `service.domain.model.NewProjectKey`
class Record:
    """One Kafka record; `value` None is a tombstone, `timestamp_ms` counts from 1970."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


@dataclass(slots=True)
class ProducerSession:
    """A producer epoch of one shard, from its opening to its first failure.

    Attributes:
        shard: The shard, which is the partition's number.
        producer_id: Kafka's producer id for the shard's transactional id.
        epoch: The producer epoch; higher with each session of the shard.
        opened_at: When it was opened, in seconds of the monotonic clock.
        sequence: The sequence number of the next record.
        usable: False while a batch is in flight, and for good after any failure.
    """

    shard: int
    producer_id: int
    epoch: int
    opened_at: float
    sequence: int = 0
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to send to one shard, in order; `records` is not empty and is iterated once."""

    session: ProducerSession
    records: Iterable[Record]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of sending a batch.

    Attributes:
        acknowledged: How many of the leading records every in-sync replica has; without an error at least one. The
            other records did not fit into the batch and were not sent: send them in the same session.
        base_offset: The offset of the first acknowledged record; -1 if there is none or Kafka does not return it.
        error: Why nothing was acknowledged; the session cannot be used any more.
    """

    acknowledged: int
    base_offset: int
    error: Exception | None


def next_sequence(sequence: int, count: int) -> int:
    """Return the sequence number after `count` records from `sequence` on; 0 follows the largest."""
    return (sequence + count) & _MAX_SEQUENCE
