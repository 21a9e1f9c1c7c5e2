"""Builds Kafka records: events as CloudEvents 1.0 (Kafka binding, binary mode), and control records."""

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
"""The payload of a replayed deletion: the key's last state is gone, so only the tombstone is published."""

_VALUE_HEADERS: Final = ("ce_dataschema", "content-type")
"""Headers that describe the value; a record without a value has none of them."""


class Part(Enum):
    """The kinds of records of an outbox row."""

    STATE = auto()
    TOMBSTONE = auto()
    """A record without a value: compaction then deletes the key's records."""


def parts_of(event: Event) -> tuple[Part, ...]:
    """Return the records of ``event`` in order; a deletion is the last state and then a tombstone."""
    if event.type != EventType.DELETED:
        return (Part.STATE,)
    return (Part.TOMBSTONE,) if event.payload == _NO_STATE else (Part.STATE, Part.TOMBSTONE)


def record_of(row: OutboxRow, part: Part = Part.STATE) -> Record:
    """Build a record of ``row``; the same row always gives the same bytes.

    Source of the header names: CloudEvents Kafka protocol binding 1.0.2, section 3.2, with the extensions
    partitionkey and sequence, and our own extension keyversion: a tombstone has no value that could hold it.
    """
    event = row.event
    headers = {
        "ce_specversion": "1.0",
        "ce_id": _event_id(event, part),
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
        for name in _VALUE_HEADERS:
            del headers[name]
    return Record(
        key=event.public_key.encode(),
        value=event.payload.encode() if part is Part.STATE else None,
        headers=tuple((name, value.encode()) for name, value in headers.items()),
        timestamp_ms=int(event.occurred_at.timestamp() * 1000),
    )


def _event_id(event: Event, part: Part) -> str:
    """Return the event's id; for its second record an id derived from it, since no two records share an id."""
    return str(event.id if part is parts_of(event)[0] else uuid.uuid5(event.id, part.name.lower()))


def fence_record() -> Record:
    """Build the first record of a producer session: from it on the broker rejects earlier sessions.

    It is a control record: its type does not begin with `projectkey.`, so consumers ignore it.
    """
    return _control_record("fence", {})


def heartbeat_record() -> Record:
    """Build a control record with the current time, by which consumers measure latency while no event occurs."""
    return _control_record("heartbeat", {"time": time_to_json(datetime.now(UTC))})


def _control_record(name: str, value: dict[str, str]) -> Record:
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
