"""Callers that make keys and keep every outcome, and the check that nothing of it was lost."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from aiokafka import ConsumerRecord

from tests.events import header, reading
from tests.outbox import Postgres
from tests.processes import DeployedReplica, Deployment

_CALLERS = 4
_PACE = 0.01
"""Seconds between two requests of one caller: a fault is to be seen, not a limit."""

_PATIENCE = ClientTimeout(total=8)


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A key that was answered with 201, and how many seconds the answer took."""

    key: str
    event_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without an answer: when it was sent (seconds of the monotonic clock) and why."""

    sent_at: float
    reason: str


@dataclass(slots=True)
class Load:
    """Every outcome so far; ``refused`` is status and Retry-After of each answer that was not 201."""

    made: list[StoredResult] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    stopping: bool = False

    @property
    def slowest_but_one_percent(self) -> float:
        """The 99th percentile of the answers' seconds."""
        seconds = sorted(one.seconds for one in self.made)
        return seconds[len(seconds) * 99 // 100]

    async def reaches(self, number: int) -> bool:
        """Whether so many keys were made."""
        return len(self.made) >= number

    async def call(self, replica: DeployedReplica) -> None:
        """Make keys one after the other until told to stop."""
        headers = {"Authorization": f"Bearer {replica.deployment.token}"}
        async with ClientSession(timeout=_PATIENCE, headers=headers) as session:
            while not self.stopping:
                sent_at = time.monotonic()
                try:
                    async with session.post(replica.keys_url, json={"name": "Load"}) as response:
                        await self._keep(response, time.monotonic() - sent_at)
                except (ClientError, TimeoutError) as error:
                    self.failures.append(Failure(sent_at, repr(error)))
                await asyncio.sleep(_PACE)

    async def _keep(self, response: ClientResponse, seconds: float) -> None:
        body = await response.json()
        if response.status == 201:
            self.made.append(StoredResult(body["id"], response.headers["Event-Id"], seconds))
        else:
            self.refused.append((response.status, response.headers.get("Retry-After", "")))


@asynccontextmanager
async def load_on(*replicas: DeployedReplica) -> AsyncIterator[Load]:
    """Callers of each of ``replicas``, for the time of the block; all have their last answer when it ends."""
    load = Load()
    async with asyncio.TaskGroup() as group:
        for replica in replicas:
            for _ in range(_CALLERS):
                group.create_task(load.call(replica))
        try:
            yield load
        finally:
            load.stopping = True


async def arrived(
    deployment: Deployment, made: Sequence[StoredResult], *, within: float = 20.0
) -> list[ConsumerRecord]:
    """All events once there is one of each key in ``made``."""
    wanted = {one.event_id for one in made}
    async with reading(deployment.bootstrap, deployment.settings.kafka_topic) as reader:
        return await reader.until(
            lambda seen: wanted <= {header(record, "ce_id") for record in seen}, patience=within
        )


async def check(events: Sequence[ConsumerRecord], made: Sequence[StoredResult], postgres: Postgres) -> int:
    """Nothing lost, nothing invented, nothing overtaken, and copies are copies; returns how many there are."""
    keys = {row["public_key"] for row in await postgres.fetch("SELECT public_key FROM project_key")}
    assert {one.key for one in made} <= keys, "a key that was answered for is gone"
    assert {record.key.decode() for record in events} <= keys, "an event tells of a key that is not there"
    by_id: dict[str, set[tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]]] = defaultdict(set)
    sequences: dict[bytes, list[int]] = defaultdict(list)
    for record in events:
        by_id[header(record, "ce_id")].add((record.key, record.value, tuple(record.headers)))
        sequences[record.key].append(int(header(record, "ce_sequence")))
    assert all(len(forms) == 1 for forms in by_id.values()), "a copy differs"
    for seen in sequences.values():
        first_copies = list(dict.fromkeys(seen))
        assert first_copies == sorted(first_copies), "an event was overtaken"
    assert {one.event_id for one in made} <= by_id.keys(), "an event was lost"
    return len(events) - len(by_id)
