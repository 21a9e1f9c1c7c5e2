"""What an outage of Kafka leaves behind, and how soon it is gone: while new keys are made all the time."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import asyncpg
import orjson

from bench.processes import BenchError
from bench.subject import Subject
from service.dev.kafka import EmbeddedKafka
from service.domain.events import EventType
from service.domain.model import new_key_half
from service.domain.partitioning import shard_of

_LOOK_EVERY: Final = 0.02
_DRAINED_WITHIN: Final = 120.0
_DEPTH: Final = "projectkeys_outbox_depth"
_KEY_COLUMNS: Final = ("project_id", "label", "public_key", "secret_key", "loader_options")
_EVENT_COLUMNS: Final = ("id", "aggregateid", "type", "version", "shard", "payload", "headers", "created_at")
_OPTIONS: Final = orjson.dumps(
    {
        "hasReplay": True,
        "hasPerformance": True,
        "hasDebug": False,
        "hasFeedback": False,
        "hasLogsAndMetrics": False,
    }
).decode()


@dataclass(frozen=True, slots=True)
class Drained:
    """Seconds from Kafka's return to the first event, and from that to the last; how many events there were."""

    until_first: float
    seconds: float
    events: int


async def leave_behind(kafka: EmbeddedKafka, url: str, project_id: int, *, events: int) -> None:
    """Stop Kafka from answering, and commit so many keys with their events meanwhile.

    Args:
        kafka: is left paused.
        url: the service's database.
        project_id: whose keys they are.
        events: how many.
    """
    kafka.pause()
    keys = [new_key_half() for _ in range(events)]
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.copy_records_to_table(
                "project_key",
                columns=_KEY_COLUMNS,
                records=((project_id, "Backlog", key, new_key_half(), _OPTIONS) for key in keys),
            )
            await connection.copy_records_to_table(
                "outbox", columns=_EVENT_COLUMNS, records=(_event(key, project_id) for key in keys)
            )
    finally:
        await connection.close()


def _event(key: str, project_id: int) -> tuple[object, ...]:
    now = datetime.now(UTC)
    payload = {
        "id": key,
        "version": 1,
        "organizationId": 1,
        "projectId": project_id,
        "name": "Backlog",
        "isActive": True,
        "rateLimit": None,
        "dsn": {"public": f"http://{key}@127.0.0.1:9000/{project_id}"},
        "browserSdkVersion": "10.x",
        "dynamicSdkLoaderOptions": orjson.loads(_OPTIONS),
        "dateCreated": now.isoformat(),
    }
    text = orjson.dumps(payload).decode()
    headers = '{"x-request-id": "0123456789abcdef0123456789abcdef"}'
    return uuid4(), key, EventType.CREATED, 1, shard_of(key), text, headers, now


async def drain(kafka: EmbeddedKafka, subject: Subject) -> Drained:
    """Let Kafka answer again and wait until nothing of the backlog is left.

    Raises:
        BenchError: it takes too long.
    """
    events = int((await subject.samples())[_DEPTH])
    began, first = time.perf_counter(), 0.0
    kafka.resume()
    while (depth := (await subject.samples())[_DEPTH]) > events // 1000:
        now = time.perf_counter()
        if not first and depth < events:
            first = now
        if now - began > _DRAINED_WITHIN:
            raise BenchError(f"{depth:.0f} events still wait {_DRAINED_WITHIN:.0f} s after Kafka's return")
        await asyncio.sleep(_LOOK_EVERY)
    return Drained(first - began, time.perf_counter() - first, events)
