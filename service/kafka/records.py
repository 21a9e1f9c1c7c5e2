"""An outbox row as a Kafka record: CloudEvents 1.0, Kafka binding, binary mode."""

from typing import Final

from service.domain.events import SOURCE, OutboxRow, wire_time
from service.kafka.producer import Record

_SCHEMA_MAJOR: Final = 1
"""Grows with a change of the payload that is more than an addition."""


def record_of(row: OutboxRow) -> Record:
    """The record of ``row``; the same row always gives the same bytes.

    Source of the header names: CloudEvents Kafka protocol binding 1.0.2, section 3.2, with the extensions
    partitionkey and sequence.
    """
    event = row.event
    envelope = {
        "ce_specversion": "1.0",
        "ce_id": str(event.id),
        "ce_source": SOURCE,
        "ce_type": event.type,
        "ce_time": wire_time(event.occurred_at),
        "ce_subject": event.public_key,
        "ce_dataschema": f"urn:projectkeys:schema:{event.type}:{_SCHEMA_MAJOR}",
        "ce_partitionkey": event.public_key,
        "ce_sequence": f"{row.seq:020d}",  # sequences are compared as text
        "content-type": "application/json",
        **event.headers,
    }
    return Record(
        key=event.public_key.encode(),
        value=event.payload.encode(),
        headers=tuple((name, value.encode()) for name, value in envelope.items()),
        timestamp_ms=int(event.occurred_at.timestamp() * 1000),
    )
