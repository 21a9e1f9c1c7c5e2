"""The publisher's rules in random orders of events: two processes, faults, delayed requests and takeovers.

Real `ShardQueue` objects without input or output, between a model of Postgres and a model of Kafka.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from service.domain.events import OutboxRow
from service.publisher import shard_queue
from service.publisher.owned_shards import OwnedShards
from service.publisher.shard_queue import PendingRecord, ShardQueue
from tests import model_process
from tests.model_servers import Partition, Request, Tables, ViolationError
from tests.model_simulation import Simulation

_STEPS = 400
"""Steps of one run: some thirty changes of three keys, with a fault every few steps."""

_RUNS = 12_500
_MAX_RUNS_TO_DETECT = 20_000
"""Runs in which a broken rule must be detected; most need fewer than ten, the rarest 5 000."""


@pytest.fixture(autouse=True)
def _small_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shard_queue, "WINDOW", model_process.WINDOW)
    return iter(())


def _run_seeds(runs: int) -> None:
    for seed in range(runs):
        try:
            Simulation(seed).run(_STEPS)
        except ViolationError as error:
            raise ViolationError(f"seed {seed}: {error}") from None


def test_no_event_is_lost_invented_or_reordered_in_millions_of_steps() -> None:
    """After recovery the log has every event, in order for each key, and ends with each key's last change."""
    _run_seeds(_RUNS)


def test_the_same_seed_repeats_a_run() -> None:
    """A violation can be reproduced from its seed."""
    traces = []
    for _ in range(2):
        simulation = Simulation(7)
        simulation.trace = []
        simulation.run(_STEPS)
        traces.append([line.partition(" at ")[0] for line in simulation.trace])
    assert traces[0] == traces[1]


def _accept_any_version_from_memory(self: ShardQueue, row: OutboxRow) -> bool:
    del self, row
    return True


def _accept_late_first_versions_from_memory(self: ShardQueue, row: OutboxRow) -> bool:
    del self
    return row.event.version == 1 and "replayed" not in row.event.headers


def _no_fence(self: Partition, request: Request) -> bool:
    del self, request
    return False


def _do_not_block_behind_parked_rows(self: Tables, limit: int, held: frozenset[int]) -> list[OutboxRow]:
    return [self.rows[seq] for seq in sorted(self.rows) if seq not in self.parked | held][:limit]


def _read_only_above_the_last_seq(self: Tables, limit: int, held: frozenset[int]) -> list[OutboxRow]:
    last = getattr(self, "seen", 0)
    found = [row for row in _select(self, 1000, held) if row.seq > last][:limit]
    if found:
        self.seen = found[-1].seq  # type: ignore[attr-defined]  # -- the bug's own
    return found


def _acknowledge_rows_by_their_first_record(self: ShardQueue, count: int) -> list[PendingRecord]:
    acknowledged = self._in_flight[:count]
    _acknowledge(self, count)
    return acknowledged


def _ignore_failovers(self: Tables, epoch: int, server_started_at: datetime | None) -> bool:
    del server_started_at
    return epoch == self.epoch


def _keep_queues_of_another_server(self: OwnedShards, server_started_at: datetime) -> list[int]:
    del self, server_started_at
    return []


_select, _acknowledge = Tables.select, ShardQueue.acknowledge

_BUGS: list[tuple[type, str, Callable[..., Any]]] = [
    (ShardQueue, "_is_first_of_key", _accept_any_version_from_memory),
    (ShardQueue, "_is_first_of_key", _accept_late_first_versions_from_memory),
    (ShardQueue, "acknowledge", _acknowledge_rows_by_their_first_record),
    (Partition, "is_fenced", _no_fence),
    (Tables, "is_current", _ignore_failovers),
    (OwnedShards, "replace_outdated", _keep_queues_of_another_server),
    (Tables, "select", _do_not_block_behind_parked_rows),
    (Tables, "select", _read_only_above_the_last_seq),
]


@pytest.mark.parametrize("bug", _BUGS, ids=lambda bug: bug[2].__name__.strip("_"))
def test_a_broken_rule_is_detected(
    bug: tuple[type, str, Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model finds each of these mistakes."""
    monkeypatch.setattr(*bug)
    with pytest.raises(ViolationError):
        _run_seeds(_MAX_RUNS_TO_DETECT)
