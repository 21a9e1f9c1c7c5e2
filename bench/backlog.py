"""The backlog after an outage of Kafka, and the time to publish it while new keys are created."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import asyncpg
import orjson

from bench.deployment import MeasuredReplica
from bench.programs import BenchError
from service.dev.kafka import EmbeddedKafka
from service.domain.events import EventType, shard_of
from service.domain.model import new_key_half
from testkit.polling import poll_until
from testkit.processes import pause, resume

_POLL_INTERVAL: Final = 0.02
_PUBLISHED_TIMEOUT: Final = 120.0
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
class Recovery:
    """Seconds from the end of the outage to the first event, and from that to the last; the number of events."""

    until_first: float
    seconds: float
    events: int


async def create_backlog(kafka: EmbeddedKafka, url: str, project_id: int, *, events: int) -> None:
    """Pause Kafka and commit keys with their events.

    Args:
        kafka: The broker; it stays paused.
        url: The URL of the service's database.
        project_id: The project of the keys.
        events: The number of keys.
    """
    pause(kafka.pid)
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


async def publish_backlog(kafka: EmbeddedKafka, service: MeasuredReplica) -> Recovery:
    """Resume Kafka and wait until all but a thousandth of the backlog is published.

    Raises:
        BenchError: The backlog is not published after two minutes.
    """
    events = int(await _outbox_depth(service))
    began, first = time.perf_counter(), 0.0

    async def is_published() -> bool:
        nonlocal first
        depth = await _outbox_depth(service)
        if not first and depth < events:
            first = time.perf_counter()
        return depth <= events // 1000

    resume(kafka.pid)
    await poll_until(
        is_published,
        timeout=_PUBLISHED_TIMEOUT,
        interval=_POLL_INTERVAL,
        error=lambda: BenchError(
            f"the backlog is not published {_PUBLISHED_TIMEOUT:.0f} s after Kafka's return"
        ),
    )
    return Recovery(first - began, time.perf_counter() - first, events)


async def _outbox_depth(service: MeasuredReplica) -> float:
    return (await service.metrics())["outbox_depth"]
