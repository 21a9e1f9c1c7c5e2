"""Two processes, one shard, a few keys, and everything that can happen to them, in an order that a seed decides."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from service.domain.events import REPLAYED, Event, EventType, OutboxRow
from tests.model_process import Process, Weather
from tests.model_servers import SHARD, Partition, Request, Tables, ViolationError

_KEYS = ("a", "b", "c")
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_NO_ID = UUID(int=0)
_ROUNDS = 3000
"""Until then a healed world is done, or never."""


class World:
    """A run of the protocol under one seed; ``trace`` keeps what happened, where somebody wants to read it."""

    def __init__(self, seed: int) -> None:
        self.weather = Weather(seed)
        self.tables = Tables()
        self.partition = Partition()
        self.network: list[Request] = []
        self.trace: list[str] | None = None
        self._last: dict[str, OutboxRow] = {}
        self._open: dict[str, OutboxRow] = {}
        self._told: list[tuple[Process, OutboxRow]] = []
        self._discarded: set[int] = set()
        self._names = 0
        self.processes = [self._start(), self._start()]
        self._deeds: Sequence[Callable[[], None]] = (
            *[self._begin] * 3,
            *[self._end] * 3,
            *[self._tell] * 3,
            *[self._deliver] * 8,
            *[lambda: self._one().lease()] * 4,
            *[lambda: self._one().turn()] * 10,
            *[lambda: self._one().send()] * 10,
            lambda: self._one().poll(),
            lambda: self._rarely(self._lapse),
            lambda: self._rarely(self._crash),
            lambda: self._rarely(lambda: self._one().forget_shards()),
            self._operate,
        )

    def run(self, steps: int) -> None:
        """So many steps of anything, then everything is mended and has to come to a good end."""
        deeds, random = self._deeds, self.weather.random.random
        for _ in range(steps):
            deed = deeds[int(random() * len(deeds))]
            if self.trace is not None:
                self.trace.append(f"{deed} {self.tables.rows.keys()} {self.partition.log}")
            deed()
        self._heal()

    def _start(self) -> Process:
        self._names += 1
        return Process(self._names, self.tables, self.partition, self.network, self.weather)

    def _one(self) -> Process:
        return self.weather.random.choice(self.processes)

    def _rarely(self, deed: Callable[[], object]) -> None:
        if self.weather.random.random() < 0.3:
            deed()

    def _begin(self) -> None:
        """A transaction takes a key's lock and draws its row's number."""
        key = self.weather.random.choice(_KEYS)
        if key not in self._open:
            row = self._next_row(key, self.weather.random.random())
            self._open[key] = row
            if self.weather.strikes(0.05):
                self.partition.unfit.add(row.seq)

    def _next_row(self, key: str, chance: float) -> OutboxRow:
        last = self._last.get(key)
        if last is None:
            return self._row(key, EventType.CREATED, 1)
        event = last.event
        if event.type == EventType.DELETED:
            if chance < 0.3:
                return self._row(key, EventType.DELETED, event.version, payload="null", replayed=True)
            return self._row(key, EventType.CREATED, event.version + 1)
        if chance < 0.2:
            kind = EventType.CREATED if event.version == 1 else EventType.UPDATED
            return self._row(key, kind, event.version, replayed=True)
        kind = EventType.DELETED if chance < 0.4 else EventType.UPDATED
        return self._row(key, kind, event.version + 1)

    def _row(
        self, key: str, kind: EventType, version: int, *, payload: str = "{}", replayed: bool = False
    ) -> OutboxRow:
        headers = {REPLAYED: "true"} if replayed else {}
        event = Event(_NO_ID, kind, key, version, SHARD, payload, headers, _NOON)
        return OutboxRow(self.tables.draw(), event)

    def _end(self) -> None:
        """A transaction commits, and some process will hear of it; or it does not commit."""
        if self._open:
            key = self.weather.random.choice(list(self._open))
            row = self._open.pop(key)
            if not self.weather.strikes(0.1):
                self._commit(row)
                self._told.append((self._one(), row))

    def _commit(self, row: OutboxRow) -> None:
        self.tables.rows[row.seq] = self.partition.committed[row.seq] = row
        self._last[row.event.public_key] = row

    def _tell(self) -> None:
        if self._told:
            process, row = self._told.pop(int(self.weather.random.random() * len(self._told)))
            process.hand_over(row)

    def _deliver(self) -> None:
        if self.network:
            self._arrive(self.weather.random.choice(self.network))

    def _arrive(self, request: Request) -> None:
        self.network.remove(request)
        self.partition.take(request, self.weather.random.randint(1, 3))

    def _lapse(self) -> None:
        """The lease runs out, for its owner is frozen, or cut off, or the clock jumps."""
        self.tables.lapsed = True

    def _crash(self) -> None:
        """What it has sent is still on its way; all else is gone."""
        place = int(self.weather.random.random() * len(self.processes))
        dead, self.processes[place] = self.processes[place], self._start()
        self._told = [(process, row) for process, row in self._told if process is not dead]
        for request in self.network:
            request.awaited = request.awaited and request.sender != dead.name

    def _operate(self) -> None:
        """Somebody has parked rows tried again, or lets one go."""
        if self.tables.parked and self.weather.random.random() < 0.5:
            seq = self.weather.random.choice(sorted(self.tables.parked))
            self.tables.parked.discard(seq)
            if self.weather.random.random() < 0.5:
                self.partition.unfit.discard(seq)
            else:
                self._discarded.add(seq)
                self.tables.rows.pop(seq, None)

    def _heal(self) -> None:
        self.weather.calm = True
        self.partition.unfit.clear()
        self.tables.lapsed = True
        for row in self._open.values():
            self._commit(row)
        for row in list(self._last.values()):
            if row.seq in self._discarded:
                self._replay(row.event)
        self._publish_all()
        while self._told:  # so late that all of it is published
            self._tell()
        self._publish_all()
        while self.network:  # what is late could not be later
            self._deliver()
        self.partition.check_end(self._last, self._discarded)

    def _publish_all(self) -> None:
        for _ in range(_ROUNDS):
            if not self.tables.rows and not any(process.has_to_send for process in self.processes):
                return
            self._calm_round()
        raise ViolationError(f"{len(self.tables.rows)} rows are never published")

    def _replay(self, event: Event) -> None:
        payload = "null" if event.type == EventType.DELETED else "{}"
        self._commit(
            self._row(event.public_key, EventType(event.type), event.version, payload=payload, replayed=True)
        )

    def _calm_round(self) -> None:
        self.tables.parked.clear()
        for process in self.processes:
            process.lease()
            process.turn()
            process.send()
        self._one().poll()
        for request in [one for one in self.network if one.awaited]:
            self._arrive(request)
