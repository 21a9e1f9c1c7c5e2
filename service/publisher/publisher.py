"""Moves events from the outbox to Kafka: in order for each key, at least once, whatever fails."""

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
from service.postgres.database import Database
from service.publisher.leases import Leases
from service.publisher.notifier import Wakeup
from service.publisher.outbox_worker import OutboxTable
from service.publisher.sender import Producer, Sender
from service.publisher.shard_queue import OwnedShard, State, Waiting

_log = structlog.get_logger(__name__)

_LEAVE_WITHIN: Final = 4.0
"""Seconds for handing over everything at the end, which takes milliseconds; after that the leases run out by
themselves. With a job's rollback and the pool's end it stays within what SHUTDOWN_TIMEOUT leaves for it."""

_FIRST_RESTART: Final = 0.5
_LONGEST_RESTART: Final = 30.0
"""Seconds before the publisher begins again after a fault of its own, at first and at most."""


def publisher_name() -> str:
    """A name for this process that tells people where it runs and that no other has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Publisher:
    """The outbox's way to Kafka in one process.

    Args:
        database: where the outbox is.
        producer: what sends.
        published: is told of the rows that Kafka has.
        metrics: counts and times.
        lease: seconds for which a shard is held without being renewed.
        heartbeat: seconds between two heartbeats of a shard; 0 for none.
        name: this publisher's, unlike any other's.
    """

    def __init__(
        self,
        database: Database,
        producer: Producer,
        *,
        published: Callable[[Sequence[OutboxRow]], None],
        metrics: PublisherMetrics,
        lease: float,
        heartbeat: float = 0.0,
        name: str | None = None,
    ) -> None:
        self._metrics = metrics
        self._published = published
        self._shards: dict[int, OwnedShard] = {}
        self._heartbeat = heartbeat
        self._table = OutboxTable(database, self._shards, arrived=self._wake_sender, metrics=metrics)
        self._leases = Leases(
            database,
            self._shards,
            name=name or publisher_name(),
            lease=lease,
            gained=self._wake_sender,
            settle=self._settle,
        )
        self._sender = Sender(
            producer,
            self._shards,
            confirm=self._leases.confirm,
            acknowledged=self._acknowledged,
            refused=self._table.refused,
            opened=self._table.wake,
            lost=self._leases.wake,
            metrics=metrics,
        )
        metrics.shards_owned.set_function(lambda: len(self._shards))
        self._wakeup = Wakeup(database, rows_came=self._table.wake, shards_came_free=self._leases.wake)

    @property
    def owned(self) -> list[int]:
        """The shards that this process publishes."""
        return sorted(self._shards)

    def condition(self) -> str:
        """``"ok"``, or what keeps events from Kafka, for people."""
        if not self._shards:
            return "this process owns no shards"
        closed = [number for number, shard in self._shards.items() if shard.state is not State.LIVE]
        return "ok" if not closed else f"shards not open: {', '.join(map(str, sorted(closed)))}"

    def hand_over(self, rows: Sequence[OutboxRow]) -> None:
        """Publish ``rows``, whose transactions have just committed."""
        now = time.time()
        for row in rows:
            shard = self._shards.get(row.event.shard)
            if shard is None:
                self._wakeup.tell_others()
            elif not shard.hand_over(row, now):
                self._table.wake_for_due()
        self._sender.wake()

    async def run(self) -> None:
        """Publish until cancelled, then hand the shards over.

        A fault in one part ends the others; all begin again after a pause. Nothing is lost by it: every row is in
        the table until Kafka has it.
        """
        pause = _FIRST_RESTART
        try:
            while True:
                started = time.monotonic()
                try:
                    await self._run_once()
                except Exception:  # noqa: BLE001 -- whatever it is, publishing must go on
                    _log.exception("publisher_failed", restart_in=pause)
                    self._metrics.restarts.inc()
                self._shards.clear()
                await asyncio.sleep(pause)
                ran_long = time.monotonic() - started > _LONGEST_RESTART
                pause = _FIRST_RESTART if ran_long else min(pause * 2, _LONGEST_RESTART)
        finally:
            await self._wakeup.close()

    async def _run_once(self) -> None:
        parts = (
            self._leases.run(),
            self._sender.run(),
            self._sender.beat(self._heartbeat),
            self._table.run(),
            self._wakeup.run(),
        )
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            # No task group: its cancellation after a fault could not be told from the end of the process.
            [ended, *_], _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await ended
        except asyncio.CancelledError:
            await self._leave()
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(_LEAVE_WITHIN):
                await self._leases.leave()
        except (UnavailableError, TimeoutError) as error:
            _log.warning("shards_not_handed_over", error=str(error), shards=self.owned)

    async def _settle(self, shards: Sequence[OwnedShard], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._sender.quiet(shards)
                await self._table.turn()
        except TimeoutError:
            _log.warning("rows_still_on_their_way", shards=[shard.number for shard in shards])

    def _acknowledged(self, shard: OwnedShard, rows: Sequence[Waiting]) -> None:
        self._table.acknowledged(shard, rows)
        self._published([one.row for one in rows])

    def _wake_sender(self) -> None:
        self._sender.wake()
