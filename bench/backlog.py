"""The backlog after an outage of Kafka, and the time to publish it while new keys are created."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.databases import connected
from bench.programs import BenchError
from bench.rows import EVENT_COLUMNS, KEY_COLUMNS, event_row, key_row
from projectkeys_servers.kafka import EmbeddedKafka
from service.domain.model import new_key_half
from testkit.polling import poll_until
from testkit.processes import pause, resume

_POLL_INTERVAL: Final = 0.02
_PUBLISHED_TIMEOUT: Final = 120.0
_SLOWEST_RATE: Final = 1000
"""Events per second; a slower service is an error."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of events, and the greatest number (`seq`) of their rows."""

    events: int
    last: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the end of the outage to the first event, and from that to the last."""

    until_first: float
    seconds: float


async def create_backlog(kafka: EmbeddedKafka, url: str, project_id: int, *, events: int) -> Backlog:
    """Pause Kafka and commit keys with their events.

    Args:
        kafka: The broker; it stays paused.
        url: The URL of the service's database.
        project_id: The project of the keys.
        events: The number of keys.
    """
    pause(kafka.pid)
    keys = [new_key_half() for _ in range(events)]
    async with connected(url) as connection, connection.transaction():
        await connection.copy_records_to_table(
            "project_key", columns=KEY_COLUMNS, records=(key_row(key, project_id) for key in keys)
        )
        await connection.copy_records_to_table(
            "outbox", columns=EVENT_COLUMNS, records=(event_row(key, project_id) for key in keys)
        )
        return Backlog(events, int(await connection.fetchval("SELECT max(seq) FROM outbox")))


# Counting a million rows takes too long, and a metric counts only the oldest. The rows of a shard are deleted in the
# order of their numbers, so the oldest number of each shard shows how many remain, to a percent. 0 is exact.
_SELECT_REMAINING: Final = """
    SELECT coalesce(sum(greatest(0, $1 - oldest.seq + 1)), 0)::float8 / (SELECT count(*) FROM outbox_shard)
    FROM outbox_shard
    CROSS JOIN LATERAL (
        SELECT seq FROM outbox WHERE outbox.shard = outbox_shard.shard ORDER BY seq LIMIT 1
    ) AS oldest
"""


async def publish_backlog(
    kafka: EmbeddedKafka, url: str, backlog: Backlog, *, progress: Callable[[int], None] = lambda _: None
) -> Recovery:
    """Resume Kafka and wait until the backlog is published; later events are not waited for.

    Args:
        kafka: The paused broker.
        url: The URL of the service's database.
        backlog: The events.
        progress: Receives the number of published events.

    Raises:
        BenchError: The backlog is not published after two minutes, or at a thousand events per second.
    """
    timeout = max(_PUBLISHED_TIMEOUT, backlog.events / _SLOWEST_RATE)
    async with connected(url) as connection:
        before = await connection.fetchval(_SELECT_REMAINING, backlog.last)
        began = first = time.perf_counter()

        async def is_published() -> bool:
            nonlocal first
            now, remaining = time.perf_counter(), await connection.fetchval(_SELECT_REMAINING, backlog.last)
            if remaining == before:
                first = now  # the first event is published later
            progress(int(backlog.events * (1 - remaining / before)))
            return bool(remaining == 0)

        resume(kafka.pid)
        await poll_until(
            is_published,
            timeout=timeout,
            interval=_POLL_INTERVAL,
            error=lambda: BenchError(f"the backlog is not published {timeout:.0f} s after Kafka's return"),
        )
    return Recovery(first - began, time.perf_counter() - first)
