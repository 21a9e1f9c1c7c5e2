"""Simulates two processes, one shard, a few keys and every kind of fault, in an order that a seed determines."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from service.domain.events import REPLAYED, Event, EventType, OutboxRow
from tests.model_process import FaultSchedule, Process
from tests.model_servers import SHARD, Partition, Request, Tables, ViolationError

_KEYS = ("a", "b", "c")
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_NO_ID = UUID(int=0)
_ROUNDS = 3000
"""Rounds without faults in which every row has to be published."""


class Simulation:
    """A run of the protocol under one seed; ``trace``, if it is a list, receives every step."""

    def __init__(self, seed: int) -> None:
        self.faults = FaultSchedule(seed)
        self.tables = Tables()
        self.partition = Partition()
        self.network: list[Request] = []
        self.trace: list[str] | None = None
        self._last: dict[str, OutboxRow] = {}
        self._open: dict[str, OutboxRow] = {}
        self._reports: list[tuple[Process, OutboxRow]] = []
        self._discarded: set[int] = set()
        self._names = 0
        self.processes = [self._start(), self._start()]
        self._actions: Sequence[Callable[[], None]] = (
            *[self._begin] * 3,
            *[self._end] * 3,
            *[self._report] * 3,
            *[self._deliver] * 8,
            *[lambda: self._any_process().step_leases()] * 4,
            *[lambda: self._any_process().step_worker()] * 10,
            *[lambda: self._any_process().step_sender()] * 10,
            lambda: self._any_process().poll(),
            lambda: self._rarely(self._expire_lease),
            lambda: self._rarely(self._crash),
            lambda: self._rarely(self._fail_over),
            lambda: self._rarely(lambda: self._any_process().drop_shards()),
            self._act_as_operator,
        )

    def run(self, steps: int) -> None:
        """Take random steps, then recover without faults and check the result."""
        actions, random = self._actions, self.faults.random.random
        for _ in range(steps):
            action = actions[int(random() * len(actions))]
            if self.trace is not None:
                self.trace.append(f"{action} {self.tables.rows.keys()} {self.partition.log}")
            action()
        self._recover()

    def _start(self) -> Process:
        self._names += 1
        return Process(self._names, self.tables, self.partition, self.network, self.faults)

    def _any_process(self) -> Process:
        return self.faults.random.choice(self.processes)

    def _rarely(self, action: Callable[[], object]) -> None:
        if self.faults.random.random() < 0.3:
            action()

    def _begin(self) -> None:
        """Begin a transaction, which locks a key and draws its row's seq."""
        key = self.faults.random.choice(_KEYS)
        if key not in self._open:
            row = self._next_row(key, self.faults.random.random())
            self._open[key] = row
            if self.faults.occurs(0.05):
                self.partition.unacceptable.add(row.seq)

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
        return OutboxRow(self.tables.draw_seq(), event)

    def _end(self) -> None:
        """Commit a transaction, which a process will report to its publisher, or roll it back."""
        if self._open:
            key = self.faults.random.choice(list(self._open))
            row = self._open.pop(key)
            if not self.faults.occurs(0.1):
                self._commit(row)
                self._reports.append((self._any_process(), row))

    def _commit(self, row: OutboxRow) -> None:
        self.tables.rows[row.seq] = self.partition.committed[row.seq] = row
        self._last[row.event.public_key] = row
        self.tables.replicate()  # a standby that lacks commits of requests is not in this model

    def _report(self) -> None:
        if self._reports:
            process, row = self._reports.pop(int(self.faults.random.random() * len(self._reports)))
            process.enqueue(row)

    def _deliver(self) -> None:
        if self.network:
            self._arrive(self.faults.random.choice(self.network))

    def _arrive(self, request: Request) -> None:
        self.network.remove(request)
        self.partition.process(request, self.faults.random.randint(1, 3))

    def _expire_lease(self) -> None:
        """Let the lease expire: its owner is stopped or disconnected, or the clock was set."""
        self.tables.expired = True

    def _crash(self) -> None:
        """Kill a process and start another one; its requests stay in the network."""
        index = int(self.faults.random.random() * len(self.processes))
        dead, self.processes[index] = self.processes[index], self._start()
        self._reports = [(process, row) for process, row in self._reports if process is not dead]
        for request in self.network:
            request.awaited = request.awaited and request.sender != dead.name

    def _fail_over(self) -> None:
        """Promote the standby; open transactions end."""
        self._open.clear()
        self.tables.fail_over()

    def _act_as_operator(self) -> None:
        """Retry or discard a parked row, as an operator."""
        if self.tables.parked and self.faults.random.random() < 0.5:
            seq = self.faults.random.choice(sorted(self.tables.parked))
            self.tables.parked.discard(seq)
            if self.faults.random.random() < 0.5:
                self.partition.unacceptable.discard(seq)
            else:
                self._discarded.add(seq)
                self.tables.rows.pop(seq, None)

    def _recover(self) -> None:
        self.faults.disabled = True
        self.partition.unacceptable.clear()
        self.tables.expired = True
        for row in self._open.values():
            self._commit(row)
        for row in list(self._last.values()):
            if row.seq in self._discarded:
                self._replay(row.event)
        self._publish_all()
        while self._reports:  # reports that come after all rows are published
            self._report()
        self._publish_all()
        while self.network:  # requests that arrive last
            self._deliver()
        self.partition.check_end(self._last, self._discarded)

    def _publish_all(self) -> None:
        for _ in range(_ROUNDS):
            if not self.tables.rows and not any(process.can_send for process in self.processes):
                return
            self._round_without_faults()
        raise ViolationError(f"{len(self.tables.rows)} rows are not published")

    def _replay(self, event: Event) -> None:
        payload = "null" if event.type == EventType.DELETED else "{}"
        self._commit(
            self._row(event.public_key, EventType(event.type), event.version, payload=payload, replayed=True)
        )

    def _round_without_faults(self) -> None:
        self.tables.parked.clear()
        for process in self.processes:
            process.step_leases()
            process.step_worker()
            process.step_sender()
        self._any_process().poll()
        for request in [each for each in self.network if each.awaited]:
            self._arrive(request)
