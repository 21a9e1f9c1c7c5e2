"""The queue of one shard: rows are sent in order and once, whatever fails."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from service.domain.events import REPLAYED, Event, EventType, OutboxRow
from service.kafka.records import Part
from service.kafka.types import ProducerSession
from service.publisher.owned_shards import OwnedShards
from service.publisher.shard_queue import WINDOW, ShardQueue

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _row(seq: int, *, key: str = "", version: int = 1) -> OutboxRow:
    public_key = key or f"{seq:032x}"
    event = Event(UUID(int=seq), EventType.CREATED, public_key, version, 0, "{}", {}, _NOON)
    return OutboxRow(seq=seq, event=event)


def _open(shard: ShardQueue, *, newest_seq: int = 0) -> None:
    session = ProducerSession(0, producer_id=1, epoch=1, opened_at=0.0)
    shard.finish_opening(session, newest_seq=newest_seq, server_started_at=_NOON)


def _open_shard() -> ShardQueue:
    shard = ShardQueue(0, epoch=1)
    _open(shard)
    shard.finish_read([], shard.begin_read())
    return shard


def _read(shard: ShardQueue, *rows: OutboxRow) -> None:
    shard.finish_read(rows, shard.begin_read())


def _send(shard: ShardQueue, limit: int = 1000) -> list[int]:
    return [record.row.seq for record in shard.next_batch(limit)]


def test_rows_are_sent_in_the_order_in_which_they_were_enqueued() -> None:
    """The oldest first, and at most the limit."""
    shard = _open_shard()
    _read(shard, _row(3), _row(5))
    assert shard.enqueue(_row(9), committed_at=0.0)
    assert _send(shard, 2) == [3, 5]
    shard.acknowledge(2)
    assert _send(shard) == [9]


def test_no_batch_is_sent_while_another_one_is_in_flight() -> None:
    """If the first one failed, the second one would be in the log before it."""
    shard = _open_shard()
    _read(shard, _row(1), _row(2))
    _send(shard, 1)
    assert not shard.can_send
    assert not shard.idle
    shard.acknowledge(1)
    assert shard.can_send


def test_only_the_first_version_of_a_key_is_accepted_from_memory() -> None:
    """A later version is read from the table, together with all earlier ones."""
    shard = _open_shard()
    assert not shard.enqueue(_row(2, key="a" * 32, version=2), committed_at=0.0)
    assert shard.read_due
    assert not shard.can_send
    _read(shard, _row(1, key="a" * 32), _row(2, key="a" * 32, version=2))
    assert _send(shard) == [1, 2]


def test_a_held_row_is_not_enqueued_again() -> None:
    """Not while it is queued, in flight, or acknowledged and not yet deleted."""
    shard = _open_shard()
    shard.enqueue(_row(1), committed_at=0.0)
    _read(shard, _row(1))
    assert _send(shard) == [1]
    _read(shard, _row(1))
    shard.acknowledge(1)
    _read(shard, _row(1))
    assert not shard.can_send
    shard.remove_deleted([_row(1)])
    assert shard.free_slots == WINDOW


def test_unacknowledged_records_of_a_batch_are_sent_first() -> None:
    """A batch that was too large for Kafka is continued before other rows are sent."""
    shard = _open_shard()
    _read(shard, _row(1), _row(2), _row(3), _row(4))
    _send(shard, 3)
    assert [record.row.seq for record in shard.acknowledge(1)] == [1]
    assert _send(shard) == [2, 3, 4]


def test_after_a_failure_all_unacknowledged_rows_are_read_again() -> None:
    """Those in flight and those that were queued, but not an acknowledged one that is not yet deleted."""
    shard = _open_shard()
    _read(shard, _row(1), _row(2), _row(3))
    _send(shard, 1)
    shard.acknowledge(1)
    _send(shard, 1)
    shard.fail(retry_at=0.0)
    assert shard.session is None
    assert not shard.can_send
    assert not shard.enqueue(_row(4), committed_at=0.0)
    _open(shard)
    assert shard.read_due
    _read(shard, _row(1), _row(2), _row(3), _row(4))
    assert _send(shard) == [2, 3, 4]


def test_a_draining_shard_accepts_and_sends_no_row() -> None:
    """Its rows stay in the table for the next owner."""
    shard = _open_shard()
    _read(shard, _row(1))
    shard.start_draining()
    assert not shard.can_send
    assert not shard.enqueue(_row(2), committed_at=0.0)


def test_the_number_of_held_rows_is_limited() -> None:
    """Rows beyond the limit stay in the table."""
    shard = _open_shard()
    assert all(shard.enqueue(_row(seq), committed_at=0.0) for seq in range(1, WINDOW + 1))
    assert not shard.enqueue(_row(WINDOW + 1), committed_at=0.0)
    assert shard.read_due
    _read(shard, _row(WINDOW + 1))
    assert len(_send(shard)) == WINDOW


def _deletion(seq: int, *, key: str = "", payload: str = "{}") -> OutboxRow:
    row = _row(seq, key=key, version=2)
    return replace(row, event=replace(row.event, type=EventType.DELETED, payload=payload))


def test_a_deletion_is_two_records_and_is_acknowledged_with_the_second() -> None:
    """If Kafka acknowledges only the first, the second is sent next, and the row is held until then."""
    shard = _open_shard()
    _read(shard, _row(1), _deletion(2), _row(3))
    sent = [(record.row.seq, record.part, record.ends_row) for record in shard.next_batch(1000)]
    assert sent == [
        (1, Part.STATE, True),
        (2, Part.STATE, False),
        (2, Part.TOMBSTONE, True),
        (3, Part.STATE, True),
    ]
    assert [record.row.seq for record in shard.acknowledge(2)] == [1]
    assert [(record.row.seq, record.part) for record in shard.next_batch(1)] == [(2, Part.TOMBSTONE)]
    assert [record.row.seq for record in shard.acknowledge(1)] == [2]


def test_both_records_of_a_deletion_are_sent_again_after_a_failure_between_them() -> None:
    """A tombstone always follows the last state directly."""
    shard = _open_shard()
    _read(shard, _deletion(1))
    shard.next_batch(1)
    shard.acknowledge(1)
    shard.fail(retry_at=0.0)
    _open(shard, newest_seq=1)
    _read(shard, _deletion(1))
    assert [record.part for record in shard.next_batch(1000)] == [Part.STATE, Part.TOMBSTONE]


def test_a_replayed_deletion_is_a_tombstone_only() -> None:
    """The key's last state is no longer known."""
    shard = _open_shard()
    _read(shard, _deletion(1, payload="null"))
    assert [(record.part, record.ends_row) for record in shard.next_batch(1000)] == [(Part.TOMBSTONE, True)]


def test_a_first_version_that_is_reported_late_is_not_accepted_from_memory() -> None:
    """Its next version was read from the table and may be in the log, so the first one was read too."""
    shard = _open_shard()
    _read(shard, _row(1, key="a" * 32), _row(3, key="a" * 32, version=2))
    _send(shard)
    shard.acknowledge(2)
    shard.remove_deleted([_row(1), _row(3)])
    assert not shard.enqueue(_row(1, key="a" * 32), committed_at=0.0)
    assert not shard.enqueue(_row(2), committed_at=0.0)
    assert shard.enqueue(_row(4), committed_at=0.0)


def test_a_row_from_before_the_fence_is_not_accepted_from_memory() -> None:
    """An earlier owner may have sent it and later versions of its key."""
    shard = ShardQueue(0, epoch=2)
    _open(shard, newest_seq=5)
    assert not shard.enqueue(_row(5), committed_at=0.0)
    assert shard.enqueue(_row(6), committed_at=0.0)


def test_a_replayed_row_is_not_accepted_from_memory() -> None:
    """A replayed first version is not the first event of its key."""
    row = _row(9)
    replayed = replace(row, event=replace(row.event, headers={REPLAYED: "true"}))
    assert not _open_shard().enqueue(replayed, committed_at=0.0)


def test_a_row_that_was_read_before_it_was_reported_needs_no_second_read() -> None:
    """The read of the table ended before the response to the row's COMMIT arrived."""
    shard = _open_shard()
    _read(shard, _row(1))
    assert shard.enqueue(_row(1), committed_at=0.0)
    assert not shard.read_due
    assert _send(shard) == [1]


def test_rows_that_were_read_in_an_earlier_session_are_not_enqueued() -> None:
    """One of them may have been parked since; the table is read again."""
    shard = _open_shard()
    session = shard.begin_read()
    shard.fail(retry_at=0.0)
    shard.finish_read([_row(1)], session)
    _open(shard)
    shard.begin_read()
    shard.finish_read([_row(1)], session)
    assert shard.read_due
    assert not shard.can_send


def test_a_rejected_record_is_isolated() -> None:
    """Records are sent one by one until it is found; then batches are as large as before."""
    shard = _open_shard()
    rows = [_row(seq) for seq in range(1, 6)]
    _read(shard, *rows)
    _send(shard, 3)
    assert shard.reject(retry_at=0.0) is None
    _open(shard)
    _read(shard, *rows)
    assert _send(shard) == [1]
    shard.acknowledge(1)
    assert _send(shard) == [2]
    assert shard.reject(retry_at=0.0) == rows[1]
    assert shard.failures == 0, "isolating it is not a failure"
    _open(shard)
    _read(shard, *rows[2:])
    assert _send(shard) == [3]
    shard.acknowledge(1)
    assert _send(shard) == [4, 5]


def test_a_heartbeat_is_sent_only_when_no_row_is_queued_or_in_flight() -> None:
    """It delays no row."""
    shard = _open_shard()
    shard.request_heartbeat()
    _read(shard, _row(1))
    assert not shard.can_send_heartbeat
    _send(shard)
    assert not shard.can_send_heartbeat
    shard.acknowledge(1)
    assert shard.can_send_heartbeat


def test_no_batch_is_sent_while_a_heartbeat_is_in_flight() -> None:
    """It takes a sequence number as rows do; if it is rejected, no row is parked."""
    shard = _open_shard()
    shard.request_heartbeat()
    shard.begin_heartbeat()
    assert shard.enqueue(_row(1), committed_at=0.0)
    assert not shard.idle
    assert not shard.can_send_heartbeat
    assert not shard.can_send
    assert shard.reject(retry_at=0.0) is None
    assert shard.session is None


def test_a_row_without_a_free_slot_is_read_later() -> None:
    """Rows that were enqueued from memory during a read may have taken the space of its last rows."""
    shard = _open_shard()
    session = shard.begin_read()
    for seq in range(2, WINDOW + 2):
        shard.enqueue(_row(seq), committed_at=0.0)
    shard.finish_read([_row(1)], session)
    assert shard.read_due


def test_a_backlog_leaves_slots_for_new_keys() -> None:
    """They are sent after the rows that are held, not after all that are in the table."""
    shard = _open_shard()
    _read(shard, *map(_row, range(1, shard.read_slots + 1)))
    assert shard.read_due
    assert not shard.can_read
    new = _row(1_000_000)
    assert shard.enqueue(new, committed_at=0.0)
    assert _send(shard)[-1] == new.seq


def test_owned_shards_follow_the_leases() -> None:
    """A shard without a lease is dropped; one with a new epoch gets a new queue; the others keep theirs."""
    shards = OwnedShards()
    shards.apply_leases({0: 1, 1: 1, 2: 1})
    kept, _, replaced = shards.values()
    assert shards.apply_leases({0: 1, 2: 3, 5: 1}) == ([1, 2], [2, 5])
    assert shards.get(0) is kept
    assert shards.get(2) is not replaced
    assert {shard.number: shard.epoch for shard in shards.values()} == {0: 1, 2: 3, 5: 1}
