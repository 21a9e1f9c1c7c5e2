"""The publisher's rules in every order of events that chance finds: two processes, faults, late bytes, takeovers.

No input or output: `OwnedShard` itself, between a model of Postgres and one of Kafka.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.domain.events import OutboxRow
from service.publisher import shard_queue
from service.publisher.shard_queue import OwnedShard, Waiting
from tests import model_process
from tests.model_servers import Partition, Request, Tables, ViolationError
from tests.model_world import World

_STEPS = 400
"""Of one run: some thirty changes of three keys, with a fault every few steps."""

_RUNS = 12_500
_ENOUGH = 20_000
"""Runs in which a broken rule must come to light; most do within ten, the rarest takes 5 000."""


@pytest.fixture(autouse=True)
def _small_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shard_queue, "WINDOW", model_process.WINDOW)
    return iter(())


def _explore(runs: int) -> None:
    for seed in range(runs):
        try:
            World(seed).run(_STEPS)
        except ViolationError as error:
            raise ViolationError(f"seed {seed}: {error}") from None


def test_nothing_is_lost_invented_or_overtaken_in_millions_of_steps() -> None:
    """Each run ends healed: the log's last word on each key is the table's, and every event is there, in order."""
    _explore(_RUNS)


def test_a_run_can_be_repeated() -> None:
    """A seed is all that it takes."""
    traces = []
    for _ in range(2):
        world = World(7)
        world.trace = []
        world.run(_STEPS)
        traces.append([line.partition(" at ")[0] for line in world.trace])
    assert traces[0] == traces[1]


def _hand_over_any_version(self: OwnedShard, row: OutboxRow) -> bool:
    del self, row
    return True


def _hand_over_however_late(self: OwnedShard, row: OutboxRow) -> bool:
    del self
    return row.event.version == 1 and "replayed" not in row.event.headers


def _no_fence(self: Partition, request: Request) -> bool:
    del self, request
    return False


def _park_the_row_alone(self: Tables, limit: int) -> list[OutboxRow]:
    return [self.rows[seq] for seq in sorted(self.rows) if seq not in self.parked][:limit]


def _only_above_the_last_seen(self: Tables, limit: int) -> list[OutboxRow]:
    last = getattr(self, "seen", 0)
    found = [row for row in _select(self, 1000) if row.seq > last][:limit]
    if found:
        self.seen = found[-1].seq  # type: ignore[attr-defined]  # -- the bug's own
    return found


def _acknowledge_rows_by_their_first_record(self: OwnedShard, count: int) -> list[Waiting]:
    has = self._sending[:count]
    _acknowledged(self, count)
    return has


_select, _acknowledged = Tables.select, OwnedShard.acknowledged

_BUGS: list[tuple[type, str, Callable[..., Any]]] = [
    (OwnedShard, "_is_first", _hand_over_any_version),
    (OwnedShard, "_is_first", _hand_over_however_late),
    (OwnedShard, "acknowledged", _acknowledge_rows_by_their_first_record),
    (Partition, "fences_off", _no_fence),
    (Tables, "select", _park_the_row_alone),
    (Tables, "select", _only_above_the_last_seen),
]


@pytest.mark.parametrize("bug", _BUGS, ids=lambda bug: bug[2].__name__.strip("_"))
def test_a_broken_rule_comes_to_light(
    bug: tuple[type, str, Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this test cannot find it has not looked for."""
    monkeypatch.setattr(*bug)
    with pytest.raises(ViolationError):
        _explore(_ENOUGH)
