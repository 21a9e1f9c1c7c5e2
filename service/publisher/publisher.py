"""Publishes outbox rows to Kafka: in order for each key, at least once."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.metrics import PublisherMetrics
from service.publisher.leases import Leases
from service.publisher.notifier import Notifier
from service.publisher.outbox_worker import OutboxWorker
from service.publisher.owned_shards import OwnedShards
from service.publisher.protocols import OutboxStore, Producer, ShardOwnership
from service.publisher.sender import Sender
from service.publisher.shard_queue import State
from service.publisher.signals import Signals

_log = structlog.get_logger(__name__)

_RELEASE_TIMEOUT: Final = 4.0
"""Seconds for the release of all shards at shutdown, which normally takes milliseconds; after this timeout the leases
expire by themselves. The release, the rollback of a job and the closing of the connection pool must fit into the rest
of SHUTDOWN_TIMEOUT."""


def publisher_name() -> str:
    """Return a name for this process: its host and process id, and a random part that makes it unique."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Publisher:
    """Publishes the shards of one process.

    Args:
        store: The outbox table.
        ownership: The leases of this process.
        producer: Sends to Kafka.
        published: Receives the rows that Kafka acknowledged.
        metrics: Counts and times.
        heartbeat: Seconds between two heartbeats of a shard; 0 sends none.
    """

    def __init__(
        self,
        store: OutboxStore,
        ownership: ShardOwnership,
        producer: Producer,
        *,
        published: Callable[[Sequence[OutboxRow]], None],
        metrics: PublisherMetrics,
        heartbeat: float = 0.0,
    ) -> None:
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._signals = signals = Signals()
        self._shards = shards = OwnedShards()
        self._worker = OutboxWorker(store, shards, signals, published=published, metrics=metrics)
        self._sender = Sender(producer, ownership, shards, self._worker, signals, metrics)
        self._leases = Leases(ownership, shards, signals, drain=self._sender.drain)
        self._notifier = Notifier(store, shards, signals)
        metrics.shards_owned.set_function(lambda: len(shards))

    @property
    def owned(self) -> list[int]:
        """The shards that this process publishes."""
        return self._shards.numbers

    def condition(self) -> str:
        """Return ``"ok"``, or a text that says why events are not published."""
        if not len(self._shards):
            return "this process owns no shards"
        closed = sorted(shard.number for shard in self._shards.values() if shard.state is not State.OPEN)
        return "ok" if not closed else f"shards not open: {', '.join(map(str, closed))}"

    def enqueue(self, rows: Sequence[OutboxRow]) -> None:
        """Publish ``rows``, whose transactions have just been committed by this process."""
        now = time.time()
        for row in rows:
            shard = self._shards.get(row.event.shard)
            if shard is None:
                self._notifier.notify()
            elif not shard.enqueue(row, committed_at=now):
                self._signals.outbox.set()
        self._signals.sender.set()

    async def run(self) -> None:
        """Publish until cancelled, then release the shards.

        An error in one part stops all of them; the caller restarts the publisher. No row is lost: each is in the
        table until Kafka acknowledges it.

        Raises:
            Exception: Any error of a part.
        """
        try:
            await self._run_parts()
        except Exception:
            self._metrics.restarts.inc()
            raise
        finally:
            self._shards.clear()
            await self._notifier.close()

    async def _run_parts(self) -> None:
        parts = (
            self._leases.run(),
            self._sender.run(),
            self._sender.send_heartbeats(self._heartbeat),
            self._worker.run(),
            self._notifier.run(),
        )
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            # Not a TaskGroup: it cancels this task after an error, which is not distinguishable from a shutdown.
            [ended, *_], _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await ended
        except asyncio.CancelledError:
            await self._release_shards()
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _release_shards(self) -> None:
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await self._leases.leave()
        except (UnavailableError, TimeoutError) as error:
            _log.warning("shards_not_released", error=str(error), shards=self.owned)
