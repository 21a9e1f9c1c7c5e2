"""The memory of one shard: in order, each row once, and nothing overtakes."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from service.domain.events import REPLAYED, Event, EventType, OutboxRow
from service.kafka.records import Part
from service.kafka.types import Session
from service.publisher.shard_queue import WINDOW, OwnedShard, hold

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
    shard.opened(Session(0, producer_id=1, epoch=1, opened_at=0.0), newest=0)
    shard.reading_due = False
    return shard


def _read(shard: OwnedShard, *rows: OutboxRow) -> None:
    shard.take_from_table(rows, shard.begin_reading())


def _send(shard: OwnedShard, most: int = 1000) -> list[int]:
    return [one.row.seq for one in shard.next_batch(most)]


def test_rows_leave_in_the_order_in_which_they_came() -> None:
    """The oldest first, and no more than asked for."""
    shard = _live()
    _read(shard, _row(3), _row(5))
    assert shard.hand_over(_row(9), 0.0)
    assert _send(shard, 2) == [3, 5]
    shard.acknowledged(2)
    assert _send(shard) == [9]


def test_nothing_is_sent_while_something_is_on_its_way() -> None:
    """A second batch would pass the first if that one failed."""
    shard = _live()
    _read(shard, _row(1), _row(2))
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
    _read(shard, _row(1, key="a" * 32), _row(2, key="a" * 32, version=2))
    assert _send(shard) == [1, 2]


def test_a_row_that_is_held_is_not_taken_again() -> None:
    """Not while it waits, is on its way, or waits for its deletion; only once it is gone."""
    shard = _live()
    shard.hand_over(_row(1), 0.0)
    _read(shard, _row(1))
    assert _send(shard) == [1]
    _read(shard, _row(1))
    shard.acknowledged(1)
    _read(shard, _row(1))
    assert not shard.sendable
    shard.deleted(1)
    assert shard.room == WINDOW


def test_what_was_not_acknowledged_goes_first_next_time() -> None:
    """A batch that was too long for Kafka is continued, not overtaken."""
    shard = _live()
    _read(shard, _row(1), _row(2), _row(3), _row(4))
    _send(shard, 3)
    assert [one.row.seq for one in shard.acknowledged(1)] == [1]
    assert _send(shard) == [2, 3, 4]


def test_after_a_failure_everything_comes_through_the_table_again() -> None:
    """What was on its way and what waited; but not what is acknowledged and only waits for its deletion."""
    shard = _live()
    _read(shard, _row(1), _row(2), _row(3))
    _send(shard, 1)
    shard.acknowledged(1)
    _send(shard, 1)
    shard.failed(retry_at=0.0)
    assert shard.session is None
    assert not shard.sendable
    assert not shard.hand_over(_row(4), 0.0)
    shard.opened(Session(0, producer_id=1, epoch=2, opened_at=0.0), newest=0)
    assert shard.reading_due
    _read(shard, _row(1), _row(2), _row(3), _row(4))
    assert _send(shard) == [2, 3, 4]


def test_a_shard_that_is_given_away_takes_and_sends_nothing() -> None:
    """What it holds stays in the table for the next owner."""
    shard = _live()
    _read(shard, _row(1))
    shard.leaving = True
    assert not shard.sendable
    assert not shard.hand_over(_row(2), 0.0)


def test_memory_is_bounded() -> None:
    """What finds no room waits in the table."""
    shard = _live()
    assert all(shard.hand_over(_row(seq), 0.0) for seq in range(1, WINDOW + 1))
    assert not shard.hand_over(_row(WINDOW + 1), 0.0)
    assert shard.reading_due
    _read(shard, _row(WINDOW + 1))
    assert len(_send(shard)) == WINDOW


def _deletion(seq: int, *, key: str = "", payload: str = "{}") -> OutboxRow:
    row = _row(seq, key=key, version=2)
    return replace(row, event=replace(row.event, type=EventType.DELETED, payload=payload))


def test_a_deletion_is_two_records_and_is_acknowledged_with_the_second() -> None:
    """Kafka may take the first alone: it goes on with the second, and the row is whole only then."""
    shard = _live()
    _read(shard, _row(1), _deletion(2), _row(3))
    sent = [(one.row.seq, one.part, one.ends_row) for one in shard.next_batch(1000)]
    assert sent == [
        (1, Part.STATE, True),
        (2, Part.STATE, False),
        (2, Part.TOMBSTONE, True),
        (3, Part.STATE, True),
    ]
    assert [one.row.seq for one in shard.acknowledged(2)] == [1]
    assert [(one.row.seq, one.part) for one in shard.next_batch(1)] == [(2, Part.TOMBSTONE)]
    assert [one.row.seq for one in shard.acknowledged(1)] == [2]


def test_a_deletion_that_was_taken_by_half_is_sent_whole_after_a_failure() -> None:
    """Its first record comes again: a tombstone never follows anything but the last state."""
    shard = _live()
    _read(shard, _deletion(1))
    shard.next_batch(1)
    shard.acknowledged(1)
    shard.failed(retry_at=0.0)
    shard.opened(Session(0, producer_id=1, epoch=2, opened_at=0.0), newest=1)
    _read(shard, _deletion(1))
    assert [one.part for one in shard.next_batch(1000)] == [Part.STATE, Part.TOMBSTONE]


def test_a_deletion_told_again_is_its_tombstone_alone() -> None:
    """Its last state is gone."""
    shard = _live()
    _read(shard, _deletion(1, payload="null"))
    assert [(one.part, one.ends_row) for one in shard.next_batch(1000)] == [(Part.TOMBSTONE, True)]


def test_a_first_version_that_is_told_of_late_is_not_taken_from_memory() -> None:
    """Its next version has come through the table and may be in the log: it has too, and need not come again."""
    shard = _live()
    _read(shard, _row(1, key="a" * 32), _row(3, key="a" * 32, version=2))
    _send(shard)
    shard.acknowledged(2)
    shard.deleted(1)
    shard.deleted(3)
    assert not shard.hand_over(_row(1, key="a" * 32), 0.0)
    assert not shard.hand_over(_row(2), 0.0)
    assert shard.hand_over(_row(4), 0.0)


def test_a_row_from_before_the_fence_is_not_taken_from_memory() -> None:
    """An earlier owner may have sent it, and what came after it."""
    shard = OwnedShard(0, epoch=2)
    shard.opened(Session(0, producer_id=1, epoch=2, opened_at=0.0), newest=5)
    assert not shard.hand_over(_row(5), 0.0)
    assert shard.hand_over(_row(6), 0.0)


def test_what_is_told_again_is_not_taken_from_memory() -> None:
    """A replayed first version is not the first event of its key."""
    row = _row(9)
    again = replace(row, event=replace(row.event, headers={REPLAYED: "true"}))
    assert not _live().hand_over(again, 0.0)


def test_a_row_that_was_read_before_it_was_handed_over_needs_no_second_reading() -> None:
    """The table was quicker than the answer to its commit."""
    shard = _live()
    _read(shard, _row(1))
    assert shard.hand_over(_row(1), 0.0)
    assert not shard.reading_due
    assert _send(shard) == [1]


def test_what_was_read_for_a_session_that_is_over_is_not_taken() -> None:
    """One of its rows may have been parked since; the table is read again."""
    shard = _live()
    read_for = shard.begin_reading()
    shard.failed(retry_at=0.0)
    shard.take_from_table([_row(1)], read_for)
    shard.opened(Session(0, producer_id=1, epoch=2, opened_at=0.0), newest=0)
    shard.begin_reading()
    shard.take_from_table([_row(1)], read_for)
    assert shard.reading_due
    assert not shard.sendable


def _reopen(shard: OwnedShard) -> None:
    shard.opened(Session(0, producer_id=1, epoch=2, opened_at=0.0), newest=0)


def test_the_one_record_that_kafka_refuses_is_found() -> None:
    """One by one, and with every other one sent; then batches are as large as before."""
    shard = _live()
    rows = [_row(seq) for seq in range(1, 6)]
    _read(shard, *rows)
    _send(shard, 3)
    assert shard.refused(retry_at=0.0) is None
    _reopen(shard)
    _read(shard, *rows)
    assert _send(shard) == [1]
    shard.acknowledged(1)
    assert _send(shard) == [2]
    assert shard.refused(retry_at=0.0) == rows[1]
    assert shard.failures == 0, "to find it is no failure"
    _reopen(shard)
    _read(shard, *rows[2:])
    assert _send(shard) == [3]
    shard.acknowledged(1)
    assert _send(shard) == [4, 5]


def test_a_heartbeat_goes_when_no_row_has_to_wait_for_it() -> None:
    """Not before a row that waits, nor beside one on its way."""
    shard = _live()
    shard.heartbeat_due = True
    _read(shard, _row(1))
    assert not shard.can_beat
    _send(shard)
    assert not shard.can_beat
    shard.acknowledged(1)
    assert shard.can_beat


def test_while_a_heartbeat_is_on_its_way_nothing_else_is() -> None:
    """It has a number of the session as rows have; refused, it parks nothing."""
    shard = _live()
    shard.heartbeat_due = True
    shard.beat()
    assert shard.hand_over(_row(1), 0.0)
    assert not shard.idle
    assert not shard.can_beat
    assert not shard.sendable
    assert shard.refused(retry_at=0.0) is None
    assert shard.session is None


def test_leases_decide_what_is_owned() -> None:
    """What is not held any more goes; what was lost and won again begins anew; the rest stays as it is."""
    kept, lost, again = (OwnedShard(number, epoch=1) for number in range(3))
    shards = {shard.number: shard for shard in (kept, lost, again)}
    assert hold(shards, {0: 1, 2: 3, 5: 1}) == ([1, 2], [2, 5])
    assert shards[0] is kept
    assert shards[2] is not again
    assert {number: shard.epoch for number, shard in shards.items()} == {0: 1, 2: 3, 5: 1}
