"""Builds Kafka records: events as CloudEvents 1.0 (Kafka binding, binary mode), and control records."""

import uuid
from datetime import UTC, datetime
from enum import Enum, auto
from functools import lru_cache
from typing import Final

import orjson

from service.domain.events import SOURCE, Event, EventType, OutboxRow, time_to_json
from service.kafka.types import Record

_SCHEMA_MAJOR: Final = 1
"""Grows with a change of the payload that is more than an addition."""

_NO_STATE: Final = "null"
"""The payload of a replayed deletion: the key's last state is gone, so only the tombstone is published."""

_SPECVERSION: Final = ("ce_specversion", b"1.0")
_SOURCE: Final = ("ce_source", SOURCE.encode())
_CONTENT_TYPE: Final = ("content-type", b"application/json")


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
    key, has_value = event.public_key.encode(), part is Part.STATE
    type_header, schema_header = _type_headers(event.type)
    # The second record of a deletion has an id derived from the event's, since no two records share an id.
    has_own_id = has_value or event.payload == _NO_STATE
    event_id = event.id if has_own_id else uuid.uuid5(event.id, part.name.lower())
    headers = [
        _SPECVERSION,
        ("ce_id", str(event_id).encode()),
        _SOURCE,
        type_header,
        ("ce_time", time_to_json(event.occurred_at).encode()),
        ("ce_subject", key),
        schema_header,
        ("ce_partitionkey", key),
        ("ce_sequence", b"%020d" % row.seq),  # sequences are compared as text
        ("ce_keyversion", b"%d" % event.version),
        _CONTENT_TYPE,
    ]
    if not has_value:  # nothing to describe
        headers.remove(schema_header)
        headers.remove(_CONTENT_TYPE)
    for name, value in event.headers.items():
        headers.append((name, value.encode()))
    return Record(
        key=key,
        value=event.payload.encode() if has_value else None,
        headers=headers,
        timestamp_ms=int(event.occurred_at.timestamp() * 1000),
    )


@lru_cache(maxsize=16)  # there are three types, and those that a newer release has added
def _type_headers(event_type: str) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    """Return the headers of a type: the type itself, and the schema of the value."""
    schema = f"urn:projectkeys:schema:{event_type}:{_SCHEMA_MAJOR}"
    return ("ce_type", event_type.encode()), ("ce_dataschema", schema.encode())


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
    encoded = [(header, text.encode()) for header, text in headers.items()]
    return Record(f"_{name}".encode(), orjson.dumps(value), encoded, int(now.timestamp() * 1000))
