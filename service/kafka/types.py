"""What is sent to Kafka, under whose name, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.kafka.errors import KafkaFailureError

_MAX_SEQUENCE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it goes into the log; `value` None is a tombstone, `timestamp_ms` counts from 1970."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


@dataclass(slots=True)
class Session:
    """One owner's turn at one shard.

    Attributes:
        shard: The shard, and the partition.
        producer_id: Kafka's number for the shard's transactional id.
        epoch: The turn's number; grows with each takeover.
        opened_at: Seconds of the monotonic clock.
        sequence: The number that the next record gets.
        usable: False while a batch is under way, and for good after any failure.
    """

    shard: int
    producer_id: int
    epoch: int
    opened_at: float
    sequence: int = 0
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """What one shard has to send, in order; `records` is not empty."""

    session: Session
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch.

    Attributes:
        acknowledged: How many of the leading records every replica in sync has. Without an error at least
            one; those after it did not fit and were not sent: the session can go on with them.
        base_offset: The offset of the first of them; -1 where there is none or Kafka does not say.
        error: Why nothing was acknowledged; the session is dead.
    """

    acknowledged: int
    base_offset: int
    error: KafkaFailureError | None


def next_sequence(sequence: int, count: int) -> int:
    """Return the number after `count` records from `sequence` on; after the largest comes 0."""
    return (sequence + count) & _MAX_SEQUENCE
