"""Writes records to a topic in the service's format, without the service."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from service.domain.events import Event, EventType, OutboxRow, shard_of
from service.kafka.records import fence_record, heartbeat_record, parts_of, record_of
from service.kafka.types import Record
from testkit.event_schemas import event_schemas

_OCCURRED_AT = datetime(2026, 11, 24, 4, 54, 16, tzinfo=UTC)


def records_of(key: str, version: int, event_type: EventType = EventType.UPDATED, **changes: Any) -> list[Record]:
    """Build the records of one version of ``key``; ``changes`` are members of its state by their JSON names."""
    example = event_schemas()["projectkey.created.1"].example
    dsn = {"public": f"https://{key}@ingest.example.com/1"}
    state = {**example, "dsn": dsn, **changes, "id": key, "version": version}
    event = Event(
        id=uuid4(),
        type=event_type,
        public_key=key,
        version=version,
        shard=shard_of(key),
        payload=json.dumps(state),
        headers={},
        occurred_at=_OCCURRED_AT,
    )
    return [record_of(OutboxRow(seq=version, event=event), part) for part in parts_of(event)]


class TopicWriter:
    """Appends records to one topic; each method returns when the records have been acknowledged."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self.topic = topic

    async def write(self, key: str, version: int, event_type: EventType = EventType.UPDATED, **changes: Any) -> None:
        """Write one version of a key; a deletion is two records."""
        await self.append(records_of(key, version, event_type, **changes), shard_of(key))

    async def write_control_records(self, partition: int = 0) -> None:
        """Write a fence and a heartbeat."""
        await self.append([fence_record(), heartbeat_record()], partition)

    async def append(self, records: Sequence[Record], partition: int) -> None:
        """Write any records."""
        for record in records:
            await self._producer.send_and_wait(
                self.topic,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                timestamp_ms=record.timestamp_ms,
                partition=partition,
            )


@asynccontextmanager
async def topic_writer(bootstrap: str, topic: str) -> AsyncIterator[TopicWriter]:
    """Open a writer to ``topic``, for the duration of the block."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        yield TopicWriter(producer, topic)
    finally:
        await producer.stop()
