"""A topic of the service's records, written as the service writes them and without it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from service.contract.catalogue import described
from service.domain.events import Event, EventType, OutboxRow
from service.domain.partitioning import shard_of
from service.kafka.records import fence_record, heartbeat_record, parts_of, record_of
from service.kafka.types import Record

_OCCURRED_AT = datetime(2026, 11, 24, 4, 54, 16, tzinfo=UTC)


def records_of(key: str, version: int, kind: EventType = EventType.UPDATED, **changes: Any) -> list[Record]:
    """What a version of ``key`` becomes in the log; ``changes`` are members of the state by their wire names."""
    shown = described()["projectkey.created.1"].example
    dsn = {"public": f"https://{key}@ingest.example.com/1"}
    state = {**shown, "dsn": dsn, **changes, "id": key, "version": version}
    event = Event(
        id=uuid4(),
        type=kind,
        public_key=key,
        version=version,
        shard=shard_of(key),
        payload=json.dumps(state),
        headers={},
        occurred_at=_OCCURRED_AT,
    )
    return [record_of(OutboxRow(seq=version, event=event), part) for part in parts_of(event)]


class Teller:
    """Appends to one topic; everything has been acknowledged when a method returns."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self.topic = topic

    async def tell(self, key: str, version: int, kind: EventType = EventType.UPDATED, **changes: Any) -> None:
        """A version of a key; a deletion is two records."""
        await self.append(records_of(key, version, kind, **changes), shard_of(key))

    async def mark(self, partition: int = 0) -> None:
        """A fence and a heartbeat."""
        await self.append([fence_record(), heartbeat_record()], partition)

    async def append(self, records: Sequence[Record], partition: int) -> None:
        """Any records."""
        for one in records:
            await self._producer.send_and_wait(
                self.topic,
                key=one.key,
                value=one.value,
                headers=list(one.headers),
                timestamp_ms=one.timestamp_ms,
                partition=partition,
            )


@asynccontextmanager
async def telling(bootstrap: str, topic: str) -> AsyncIterator[Teller]:
    """Something that writes into ``topic``, for the time of the block."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        yield Teller(producer, topic)
    finally:
        await producer.stop()
