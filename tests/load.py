"""Clients that create keys and record every outcome, and a check that no key or event was lost."""

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

_CLIENTS = 4
_INTERVAL = 0.01
"""Seconds between two requests of a client: the tests examine faults, not limits."""

_REQUEST_TIMEOUT = ClientTimeout(total=8)


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key whose creation got 201, and the seconds of the request."""

    key: str
    event_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without a response: when it was sent (seconds of the monotonic clock), and the reason."""

    sent_at: float
    reason: str


@dataclass(slots=True)
class Load:
    """All outcomes so far; ``refused`` contains status and Retry-After of each response other than 201."""

    created: list[CreatedKey] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    stopping: bool = False

    async def reaches(self, number: int) -> bool:
        """Return whether ``number`` keys were created."""
        return len(self.created) >= number

    async def run_client(self, replica: DeployedReplica) -> None:
        """Create one key after another until ``stopping`` is set."""
        headers = {"Authorization": f"Bearer {replica.deployment.token}"}
        async with ClientSession(timeout=_REQUEST_TIMEOUT, headers=headers) as session:
            while not self.stopping:
                sent_at = time.monotonic()
                try:
                    async with session.post(replica.keys_url, json={"name": "Load"}) as response:
                        await self._record(response, time.monotonic() - sent_at)
                except (ClientError, TimeoutError) as error:
                    self.failures.append(Failure(sent_at, repr(error)))
                await asyncio.sleep(_INTERVAL)

    async def _record(self, response: ClientResponse, seconds: float) -> None:
        body = await response.json()
        if response.status == 201:
            self.created.append(CreatedKey(body["id"], response.headers["Event-Id"], seconds))
        else:
            self.refused.append((response.status, response.headers.get("Retry-After", "")))


@asynccontextmanager
async def running_load(*replicas: DeployedReplica) -> AsyncIterator[Load]:
    """Run clients of each replica during the block, and wait for their last responses at its end."""
    load = Load()
    async with asyncio.TaskGroup() as group:
        for replica in replicas:
            for _ in range(_CLIENTS):
                group.create_task(load.run_client(replica))
        try:
            yield load
        finally:
            load.stopping = True


async def wait_for_events(
    deployment: Deployment, created: Sequence[CreatedKey], *, timeout: float = 20.0
) -> list[ConsumerRecord]:
    """Return all events when there is one of each created key; fail after ``timeout`` seconds."""
    wanted = {key.event_id for key in created}
    async with reading(deployment.bootstrap, deployment.settings.kafka_topic) as reader:
        return await reader.until(
            lambda seen: wanted <= {header(record, "ce_id") for record in seen}, timeout=timeout
        )


async def check_events(events: Sequence[ConsumerRecord], created: Sequence[CreatedKey], postgres: Postgres) -> int:
    """Check that no event is lost, invented or reordered and that copies are equal; return the number of copies."""
    keys = {row["public_key"] for row in await postgres.fetch("SELECT public_key FROM project_key")}
    assert {key.key for key in created} <= keys, "an acknowledged key is missing"
    assert {record.key.decode() for record in events} <= keys, "an event has no key"
    by_id: dict[str, set[tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]]] = defaultdict(set)
    sequences: dict[bytes, list[int]] = defaultdict(list)
    for record in events:
        by_id[header(record, "ce_id")].add((record.key, record.value, tuple(record.headers)))
        sequences[record.key].append(int(header(record, "ce_sequence")))
    assert all(len(forms) == 1 for forms in by_id.values()), "a copy differs"
    for seen in sequences.values():
        first_copies = list(dict.fromkeys(seen))
        assert first_copies == sorted(first_copies), "events are reordered"
    assert {key.event_id for key in created} <= by_id.keys(), "an event was lost"
    return len(events) - len(by_id)
