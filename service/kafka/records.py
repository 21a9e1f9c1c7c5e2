"""An outbox row as Kafka records: CloudEvents 1.0, Kafka binding, binary mode."""

import uuid
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

import orjson

from service.domain.events import SOURCE, Event, EventType, OutboxRow, time_to_json
from service.kafka.types import Record

_SCHEMA_MAJOR: Final = 1
"""Grows with a change of the payload that is more than an addition."""

_NO_STATE: Final = "null"
"""The payload of a deletion that is told again: its last state is gone, the tombstone alone is left to tell."""

_OF_THE_VALUE: Final = ("ce_dataschema", "content-type")
"""Headers that a record without a value goes without."""


class Part(Enum):
    """What one record holds of its row."""

    STATE = auto()
    TOMBSTONE = auto()
    """No value: compaction then forgets the key."""


def parts_of(event: Event) -> tuple[Part, ...]:
    """What goes into the log for ``event``, in this order; a deletion is its last state and then a tombstone."""
    if event.type != EventType.DELETED:
        return (Part.STATE,)
    return (Part.TOMBSTONE,) if event.payload == _NO_STATE else (Part.STATE, Part.TOMBSTONE)


def record_of(row: OutboxRow, part: Part = Part.STATE) -> Record:
    """The record of ``row``; the same row always gives the same bytes.

    Source of the header names: CloudEvents Kafka protocol binding 1.0.2, section 3.2, with the extensions
    partitionkey and sequence, and one of our own, keyversion: a tombstone has no value that could tell it.
    """
    event = row.event
    envelope = {
        "ce_specversion": "1.0",
        "ce_id": _id_of(event, part),
        "ce_source": SOURCE,
        "ce_type": event.type,
        "ce_time": time_to_json(event.occurred_at),
        "ce_subject": event.public_key,
        "ce_dataschema": f"urn:projectkeys:schema:{event.type}:{_SCHEMA_MAJOR}",
        "ce_partitionkey": event.public_key,
        "ce_sequence": f"{row.seq:020d}",  # sequences are compared as text
        "ce_keyversion": str(event.version),
        "content-type": "application/json",
        **event.headers,
    }
    if part is Part.TOMBSTONE:
        for name in _OF_THE_VALUE:
            del envelope[name]
    return Record(
        key=event.public_key.encode(),
        value=event.payload.encode() if part is Part.STATE else None,
        headers=tuple((name, value.encode()) for name, value in envelope.items()),
        timestamp_ms=int(event.occurred_at.timestamp() * 1000),
    )


def _id_of(event: Event, part: Part) -> str:
    """The event's own id; a second record of it has one that follows from it, for no two records share one."""
    return str(event.id if part is parts_of(event)[0] else uuid.uuid5(event.id, part.name.lower()))


def fence_record() -> Record:
    """What an owner's turn at a shard begins with: from then on the broker refuses those before it."""
    return _mark("fence", {})


def heartbeat_record() -> Record:
    """Something to measure the way by, for whoever reads the topic, when nothing happens."""
    return _mark("heartbeat", {"time": time_to_json(datetime.now(UTC))})


def _mark(name: str, value: dict[str, str]) -> Record:
    now = datetime.now(UTC)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid.uuid4()),
        "ce_source": SOURCE,
        "ce_type": f"projectkeys.{name}",
        "ce_time": time_to_json(now),
        "content-type": "application/json",
    }
    encoded = tuple((header, text.encode()) for header, text in headers.items())
    return Record(f"_{name}".encode(), orjson.dumps(value), encoded, int(now.timestamp() * 1000))
