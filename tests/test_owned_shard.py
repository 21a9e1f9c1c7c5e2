"""The memory of one shard: in order, each row once, and nothing overtakes."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.domain.events import Event, EventType, OutboxRow
from service.kafka.owned_shard import WINDOW, OwnedShard
from service.kafka.session import Session

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _row(seq: int, *, key: str = "", version: int = 1) -> OutboxRow:
    event = Event(
        id=UUID(int=seq),
        type=EventType.CREATED,
        public_key=key or f"{seq:032x}",
        version=version,
        shard=0,
        payload="{}",
        headers={},
        occurred_at=_NOON,
    )
    return OutboxRow(seq=seq, event=event)


def _live() -> OwnedShard:
    shard = OwnedShard(0, epoch=1)
    shard.opened(Session(0, producer_id=1, epoch=1, opened_at=0.0))
    shard.reading_due = False
    return shard


def _send(shard: OwnedShard, most: int = 1000) -> list[int]:
    return [one.row.seq for one in shard.next_batch(most)]


def test_rows_leave_in_the_order_in_which_they_came() -> None:
    """The oldest first, and no more than asked for."""
    shard = _live()
    shard.take_from_table([_row(3), _row(5)])
    assert shard.hand_over(_row(9), 0.0)
    assert _send(shard, 2) == [3, 5]
    shard.acknowledged(2)
    assert _send(shard) == [9]


def test_nothing_is_sent_while_something_is_on_its_way() -> None:
    """A second batch would pass the first if that one failed."""
    shard = _live()
    shard.take_from_table([_row(1), _row(2)])
    _send(shard, 1)
    assert not shard.sendable
    assert not shard.idle
    shard.acknowledged(1)
    assert shard.sendable


def test_memory_takes_a_keys_first_version_and_no_later_one() -> None:
    """A later version comes through the table, which holds what came before it."""
    shard = _live()
    assert not shard.hand_over(_row(2, key="a" * 32, version=2), 0.0)
    assert shard.reading_due
    assert not shard.sendable
    shard.take_from_table([_row(1, key="a" * 32), _row(2, key="a" * 32, version=2)])
    assert _send(shard) == [1, 2]


def test_a_row_that_is_held_is_not_taken_again() -> None:
    """Not while it waits, is on its way, or waits for its deletion; only once it is gone."""
    shard = _live()
    shard.hand_over(_row(1), 0.0)
    shard.take_from_table([_row(1)])
    assert _send(shard) == [1]
    shard.take_from_table([_row(1)])
    shard.acknowledged(1)
    shard.take_from_table([_row(1)])
    assert not shard.sendable
    shard.deleted(1)
    assert shard.room == WINDOW


def test_what_was_not_acknowledged_goes_first_next_time() -> None:
    """A batch that was too long for Kafka is continued, not overtaken."""
    shard = _live()
    shard.take_from_table([_row(1), _row(2), _row(3), _row(4)])
    _send(shard, 3)
    assert [one.row.seq for one in shard.acknowledged(1)] == [1]
    assert _send(shard) == [2, 3, 4]


def test_after_a_failure_everything_comes_through_the_table_again() -> None:
    """What was on its way and what waited; but not what is acknowledged and only waits for its deletion."""
    shard = _live()
    shard.take_from_table([_row(1), _row(2), _row(3)])
    _send(shard, 1)
    shard.acknowledged(1)
    _send(shard, 1)
    shard.failed(retry_at=0.0)
    assert shard.session is None
    assert not shard.sendable
    assert not shard.hand_over(_row(4), 0.0)
    shard.opened(Session(0, producer_id=1, epoch=2, opened_at=0.0))
    assert shard.reading_due
    shard.take_from_table([_row(1), _row(2), _row(3), _row(4)])
    assert _send(shard) == [2, 3, 4]


def test_a_shard_that_is_given_away_takes_and_sends_nothing() -> None:
    """What it holds stays in the table for the next owner."""
    shard = _live()
    shard.take_from_table([_row(1)])
    shard.leaving = True
    assert not shard.sendable
    assert not shard.hand_over(_row(2), 0.0)


def test_memory_is_bounded() -> None:
    """What finds no room waits in the table."""
    shard = _live()
    assert all(shard.hand_over(_row(seq), 0.0) for seq in range(WINDOW))
    assert not shard.hand_over(_row(WINDOW), 0.0)
    assert shard.reading_due
    shard.take_from_table([_row(WINDOW)])
    assert len(_send(shard)) == WINDOW


class _World:
    """A table, a shard and a log, as the parts around the shard use them."""

    def __init__(self) -> None:
        self.shard = _live()
        self.table: list[OutboxRow] = []
        self.log: list[OutboxRow] = []
        self._versions: dict[int, int] = {}
        self._acknowledged: list[OutboxRow] = []
        self._seq = 0

    def commit(self, key: int, *, handed_over: bool) -> None:
        """A change of ``key``, by this process or by another one, whose rows come through the table alone."""
        self._seq += 1
        self._versions[key] = self._versions.get(key, 0) + 1
        row = _row(self._seq, key=f"{key:032x}", version=self._versions[key])
        self.table.append(row)
        if handed_over and not self.shard.leaving:
            self.shard.hand_over(row, 0.0)

    def send(self, most: int, taken: int) -> None:
        """A batch of which Kafka takes the first rows, at least one."""
        if self.shard.sendable:
            batch = [one.row for one in self.shard.next_batch(most)]
            taken = min(taken, len(batch))
            self.log.extend(batch[:taken])
            self._acknowledged.extend(one.row for one in self.shard.acknowledged(taken))

    def fail(self, most: int, taken: int) -> None:
        """A batch of which Kafka has some rows and says nothing."""
        if self.shard.sendable:
            self.log.extend([one.row for one in self.shard.next_batch(most)][:taken])
            self.shard.failed(retry_at=0.0)
            self.shard.opened(Session(0, producer_id=1, epoch=2, opened_at=0.0))

    def turn(self) -> None:
        """Delete what is acknowledged, then read."""
        for row in self._acknowledged:
            self.table.remove(row)
            self.shard.deleted(row.seq)
        self._acknowledged.clear()
        self.shard.take_from_table(list(self.table))


_STEPS = st.one_of(
    st.tuples(st.just("commit"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("send"), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.just("fail"), st.integers(1, 3), st.integers(0, 3)),
    st.tuples(st.just("turn"), st.none(), st.none()),
)


@given(st.lists(_STEPS, max_size=40))
def test_whatever_happens_each_version_follows_the_one_before(steps: list[tuple[str, int, int]]) -> None:
    """Over all orders of commits, sends, failures and readings: nothing is lost and nothing overtakes."""
    world = _World()
    for name, first, second in steps:
        match name:
            case "commit":
                world.commit(first, handed_over=bool(second))
            case "send":
                world.send(first, second)
            case "fail":
                world.fail(first, second)
            case _:
                world.turn()
    while world.table:
        world.turn()
        world.send(1000, 1000)
    assert_in_order(world.log)


def assert_in_order(log: list[OutboxRow]) -> None:
    """The first copies of each key's versions stand as 1, 2, 3."""
    seen: dict[str, int] = {}
    for row in log:
        newest = seen.get(row.event.public_key, 0)
        assert row.event.version <= newest + 1, "a version was overtaken"
        seen[row.event.public_key] = max(newest, row.event.version)
