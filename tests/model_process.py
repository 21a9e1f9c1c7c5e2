"""A model of a publishing process around real `ShardQueue` objects, executed one step at a time in any order."""

from collections.abc import Generator
from datetime import datetime
from random import Random
from typing import TypeAlias

from service.domain.events import OutboxRow
from service.kafka.types import ProducerSession
from service.publisher.owned_shards import OwnedShards
from service.publisher.shard_queue import ShardQueue, State
from tests.model_servers import SHARD, Partition, Request, Tables

Steps: TypeAlias = Generator[None, None, None]
"""Work that waits for a server at each step."""

WINDOW = 4
"""Rows that are held at most; few, so that the limit is reached often."""


class FaultSchedule:
    """Random faults; none occurs while ``disabled``."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 -- repeatable, not secret
        self.disabled = False

    def occurs(self, probability: float) -> bool:
        """Return whether a fault occurs now."""
        return not self.disabled and self.random.random() < probability


class Process:
    """Leases, outbox worker and sender of one publisher; ``name`` changes after each crash."""

    def __init__(
        self, name: int, tables: Tables, partition: Partition, network: list[Request], faults: FaultSchedule
    ) -> None:
        self.name = name
        self.shards = OwnedShards()
        self._tables = tables
        self._partition = partition
        self._network = network
        self._faults = faults
        self._to_delete: list[tuple[ShardQueue, OutboxRow, datetime | None]] = []
        self._to_park: list[tuple[ShardQueue, OutboxRow, datetime | None]] = []
        self._leasing: Steps | None = None
        self._processing: Steps | None = None
        self._sending: dict[ShardQueue, Steps] = {}

    @property
    def can_send(self) -> bool:
        """Whether a batch can be sent."""
        return any(shard.can_send for shard in self.shards.values())

    def step_leases(self) -> None:
        """Execute the next step of the leases."""
        if self._leasing is None:
            self._leasing = self._release() if self._faults.occurs(0.1) else self._renew()
        if next(self._leasing, self) is self:
            self._leasing = None

    def step_worker(self) -> None:
        """Execute the next step of the outbox worker."""
        if self._processing is None:
            self._processing = self._process()
        if next(self._processing, self) is self:
            self._processing = None

    def step_sender(self) -> None:
        """Execute the next step of the sender, for an owned shard or one that was lost meanwhile."""
        shard = self.shards.get(SHARD)
        if shard is not None and shard not in self._sending and (work := self._next_work(shard)) is not None:
            self._sending[shard] = work
        if self._sending:
            shard = self._faults.random.choice(list(self._sending))
            if next(self._sending[shard], self) is self:
                del self._sending[shard]

    def enqueue(self, row: OutboxRow) -> None:
        """Enqueue a row that this process has committed."""
        if (shard := self.shards.get(SHARD)) is not None:
            shard.enqueue(row, committed_at=0.0)

    def poll(self) -> None:
        """The poll interval is over, and a heartbeat is due."""
        for shard in self.shards.values():
            shard.request_read()
            shard.request_heartbeat()

    def drop_shards(self) -> None:
        """The lease has expired by this process's own clock."""
        self.shards.clear()

    def _renew(self) -> Steps:
        yield
        epochs = self._tables.renew_or_claim(self.name)
        yield
        if not self._faults.occurs(0.1):
            self.shards.apply_leases(epochs)

    def _release(self) -> Steps:
        if (shard := self.shards.get(SHARD)) is None:
            return
        shard.start_draining()
        while not ((shard.idle and self._processing is None and not self._to_delete) or self._faults.occurs(0.2)):
            yield
        self.shards.remove([SHARD])
        yield
        self._tables.release(self.name)

    def _process(self) -> Steps:
        while self._to_park:
            shard, row, server_started_at = self._to_park[0]
            yield
            self._tables.park(row.seq, shard.epoch, server_started_at)
            yield
            if self._faults.occurs(0.1):
                return
            del self._to_park[0]
        working = [self._delete()] if self._to_delete else []
        owned = self.shards.get(SHARD)
        if owned and owned.can_read:
            working.append(self._read(owned))
        while working:  # at the same time
            work = self._faults.random.choice(working)
            if next(work, self) is self:
                working.remove(work)
            else:
                yield

    def _delete(self) -> Steps:
        rows, self._to_delete = self._to_delete, []
        yield
        for shard, row, server_started_at in rows:  # one statement
            self._tables.delete([row.seq], shard.epoch, server_started_at)
        present = self._tables.server_started_at
        yield
        if self._faults.occurs(0.1):
            self._to_delete = rows + self._to_delete
            return
        for shard, row, server_started_at in rows:
            if present == server_started_at == shard.server_started_at:
                shard.remove_deleted([row])
        self.shards.replace_outdated(present)

    def _read(self, shard: ShardQueue) -> Steps:
        session, limit, held = shard.begin_read(), shard.read_slots, frozenset(shard.held_seqs)
        yield
        former = self._tables.former_primary
        server = former if former is not None and self._faults.occurs(0.05) else self._tables
        rows, server_started_at = server.select(limit, held), server.server_started_at
        yield
        if self._faults.occurs(0.1):
            shard.request_read()
            return
        shard.finish_read(rows, session)
        if rows:
            self.shards.replace_outdated(server_started_at)

    def _next_work(self, shard: ShardQueue) -> Steps | None:
        if shard.draining:
            return None
        if shard.state is State.CLOSED:
            return self._open(shard)
        if shard.can_send:
            return self._send(shard)
        return self._send_heartbeat(shard) if shard.can_send_heartbeat else None

    def _open(self, shard: ShardQueue) -> Steps:
        shard.begin_opening()
        yield
        session = ProducerSession(SHARD, 1, self._partition.draw_epoch(), 0.0)
        fence = Request(self.name, session.epoch, ())
        responded = yield from self._request(fence)
        if responded and not fence.fenced:
            state = self._tables.newest_seq_if_owner(self.name, shard.epoch)
            yield
            if state is not None and not self._faults.occurs(0.1):
                newest_seq, server_started_at = state
                shard.finish_opening(session, newest_seq=newest_seq, server_started_at=server_started_at)
                return
        shard.fail(0.0)

    def _send(self, shard: ShardQueue) -> Steps:
        assert shard.session is not None, "the session is open"
        limit = self._faults.random.randint(1, 3)
        yield from self._complete(shard, Request(self.name, shard.session.epoch, shard.next_batch(limit)))

    def _send_heartbeat(self, shard: ShardQueue) -> Steps:
        assert shard.session is not None, "the session is open"
        shard.begin_heartbeat()
        yield from self._complete(shard, Request(self.name, shard.session.epoch, ()))

    def _complete(self, shard: ShardQueue, request: Request) -> Steps:
        responded = yield from self._request(request)
        if not responded or request.fenced:
            shard.fail(0.0)
        elif request.rejected:
            if (row := shard.reject(0.0)) is not None:
                self._to_park.append((shard, row, shard.server_started_at))
        else:
            records = shard.acknowledge(request.taken)
            self._to_delete += [(shard, record.row, shard.server_started_at) for record in records]

    def _request(self, request: Request) -> Generator[None, None, bool]:
        """Wait for the response; return False if it is lost or late, whether or not the request was processed."""
        self._network.append(request)
        while not request.arrived:
            yield
            if self._faults.occurs(0.05):
                request.awaited = False
                return False
        yield
        return not self._faults.occurs(0.1)
