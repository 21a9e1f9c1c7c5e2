"""A process that publishes, as the parts around `OwnedShard` do, one step at a time and in any order."""

from collections.abc import Generator
from random import Random
from typing import TypeAlias

from service.domain.events import OutboxRow
from service.kafka.types import Session
from service.publisher.shard_queue import OwnedShard, State, hold
from tests.model_servers import SHARD, Partition, Request, Tables

Steps: TypeAlias = Generator[None, None, None]
"""Work that waits for a server at each step."""

WINDOW = 4
"""Rows that are held at most, few so that it matters."""


class Weather:
    """Chance, and how much of it: ``calm``, nothing goes wrong any more."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 -- to be repeated, not to be secret
        self.calm = False

    def strikes(self, probability: float) -> bool:
        """Whether something goes wrong."""
        return not self.calm and self.random.random() < probability


class Process:
    """Leases, table and sender of one publisher; ``name`` is a new one after each crash."""

    def __init__(
        self, name: int, tables: Tables, partition: Partition, network: list[Request], weather: Weather
    ) -> None:
        self.name = name
        self.shards: dict[int, OwnedShard] = {}
        self._tables = tables
        self._partition = partition
        self._network = network
        self._weather = weather
        self._acknowledged: list[tuple[OwnedShard, int]] = []
        self._refused: list[tuple[OwnedShard, OutboxRow]] = []
        self._leasing: Steps | None = None
        self._turning: Steps | None = None
        self._sending: dict[OwnedShard, Steps] = {}

    @property
    def has_to_send(self) -> bool:
        """Whether it holds something that it would send."""
        return any(shard.sendable for shard in self.shards.values())

    def lease(self) -> None:
        """Go on with the leases."""
        if self._leasing is None:
            self._leasing = self._give_back() if self._weather.strikes(0.1) else self._hold()
        if next(self._leasing, self) is self:
            self._leasing = None

    def turn(self) -> None:
        """Go on with the table."""
        if self._turning is None:
            self._turning = self._turn()
        if next(self._turning, self) is self:
            self._turning = None

    def send(self) -> None:
        """Go on with the sender; what it does for a shard that was lost meanwhile goes on beside."""
        shard = self.shards.get(SHARD)
        if shard is not None and shard not in self._sending and (work := self._next_work(shard)) is not None:
            self._sending[shard] = work
        if self._sending:
            shard = self._weather.random.choice(list(self._sending))
            if next(self._sending[shard], self) is self:
                del self._sending[shard]

    def hand_over(self, row: OutboxRow) -> None:
        """Hear of a row that this process has committed."""
        if (shard := self.shards.get(SHARD)) is not None:
            shard.hand_over(row, 0.0)

    def poll(self) -> None:
        """A second has passed; a heartbeat may be due."""
        for shard in self.shards.values():
            shard.reading_due = True
            shard.heartbeat_due = True

    def forget_shards(self) -> None:
        """The lease ran out by this process's own clock."""
        self.shards.clear()

    def _hold(self) -> Steps:
        yield
        held = self._tables.hold(self.name)
        yield
        if not self._weather.strikes(0.1):
            hold(self.shards, held)

    def _give_back(self) -> Steps:
        if (shard := self.shards.get(SHARD)) is None:
            return
        shard.leaving = True
        while not (
            (shard.idle and self._turning is None and not self._acknowledged) or self._weather.strikes(0.2)
        ):
            yield
        self.shards.pop(SHARD, None)
        yield
        self._tables.release(self.name)

    def _turn(self) -> Steps:
        while self._refused:
            shard, row = self._refused[0]
            yield
            self._tables.park(row.seq, shard.epoch)
            yield
            if self._weather.strikes(0.1):
                return
            del self._refused[0]
        if self._acknowledged:
            yield from self._delete()
        owned = self.shards.get(SHARD)
        if owned and owned.reading_due and owned.state is State.LIVE and owned.room >= WINDOW // 2:
            yield from self._read(owned)

    def _delete(self) -> Steps:
        gone, self._acknowledged = self._acknowledged, []
        yield
        for shard, seq in gone:  # one statement
            self._tables.delete([seq], shard.epoch)
        yield
        if self._weather.strikes(0.1):
            self._acknowledged = gone + self._acknowledged
            return
        for shard, seq in gone:
            shard.deleted(seq)

    def _read(self, shard: OwnedShard) -> Steps:
        read_for = shard.begin_reading()
        yield
        rows = self._tables.select(WINDOW)
        yield
        if self._weather.strikes(0.1):
            shard.reading_due = True
            return
        shard.take_from_table(rows, read_for)
        if len(rows) == WINDOW:
            shard.reading_due = True

    def _next_work(self, shard: OwnedShard) -> Steps | None:
        if shard.leaving:
            return None
        if shard.state is State.CLOSED:
            return self._open(shard)
        if shard.sendable:
            return self._send(shard)
        return self._beat(shard) if shard.can_beat else None

    def _open(self, shard: OwnedShard) -> Steps:
        shard.state = State.OPENING
        yield
        session = Session(SHARD, 1, self._partition.draw_epoch(), 0.0)
        fence = Request(self.name, session.epoch, ())
        answered = yield from self._ask(fence)
        if answered and not fence.fenced:
            newest = self._tables.newest_if_owner(self.name, shard.epoch)
            yield
            if newest is not None and not self._weather.strikes(0.1):
                shard.opened(session, newest)
                return
        shard.failed(0.0)

    def _send(self, shard: OwnedShard) -> Steps:
        assert shard.session is not None, "it is live"
        most = self._weather.random.randint(1, 3)
        yield from self._settled(shard, Request(self.name, shard.session.epoch, shard.next_batch(most)))

    def _beat(self, shard: OwnedShard) -> Steps:
        assert shard.session is not None, "it is live"
        shard.beat()
        yield from self._settled(shard, Request(self.name, shard.session.epoch, ()))

    def _settled(self, shard: OwnedShard, request: Request) -> Steps:
        answered = yield from self._ask(request)
        if not answered or request.fenced:
            shard.failed(0.0)
        elif request.refused:
            if (row := shard.refused(0.0)) is not None:
                self._refused.append((shard, row))
        else:
            rows = shard.acknowledged(request.taken)
            self._acknowledged += [(shard, one.row.seq) for one in rows]

    def _ask(self, request: Request) -> Generator[None, None, bool]:
        """Wait for the answer; False if it was lost, or did not come in time, however the request ends."""
        self._network.append(request)
        while not request.arrived:
            yield
            if self._weather.strikes(0.05):
                request.awaited = False
                return False
        yield
        return not self._weather.strikes(0.1)
