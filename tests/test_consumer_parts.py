"""The consumer kit's parts that no broker is needed for: how far it has read, and what it remembers."""

import pytest

from service.consumer import table
from service.consumer.progress import Progress
from service.consumer.records import Told
from service.consumer.table import Table

_A, _B = b"a" * 16, b"b" * 16


def _begun(*, ends: dict[int, int], at: float) -> Progress:
    progress = Progress()
    progress.begin(dict.fromkeys(ends, 0), ends, at=at)
    return progress


def test_all_is_known_once_every_partition_has_passed_its_mark() -> None:
    """One that has not is enough; ends that came since do not count."""
    progress = _begun(ends={0: 2, 1: 1}, at=10.0)
    assert not progress.advance({0: 2, 1: 0}, {0: 9, 1: 9}, answered_at=11.0)
    assert progress.behind == 16
    assert progress.advance({0: 2, 1: 1}, {0: 9, 1: 9}, answered_at=12.0)
    assert progress.since == 10.0


def test_with_records_all_the_time_the_mark_moves_on() -> None:
    """It is never caught up with the end, and yet knows everything of a moment that moves with the clock."""
    progress = _begun(ends={0: 1}, at=10.0)
    moments = []
    for second in range(1, 6):
        assert progress.advance({0: second * 5}, {0: second * 5 + 1}, answered_at=10.0 + second)
        moments.append(progress.since)
    assert moments == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_while_nothing_comes_all_is_known_as_of_the_last_answer() -> None:
    """The ends have been passed already when they are told."""
    progress = _begun(ends={0: 1}, at=10.0)
    assert progress.advance({0: 1}, {0: 1}, answered_at=15.0)
    assert (progress.since, progress.behind) == (15.0, 0)
    assert progress.advance({0: 1}, {0: 1}, answered_at=None)
    assert progress.since == 15.0


def test_the_quietest_partition_is_told_of() -> None:
    """None while one has never had a record; a record that is older than the last changes nothing."""
    progress = _begun(ends={0: 1, 1: 1}, at=10.0)
    progress.saw(0, 20.0)
    assert progress.quiet(30.0) is None
    progress.saw(1, 25.0)
    progress.saw(1, 5.0)
    assert progress.quiet(30.0) == 10.0


def test_the_versions_of_the_latest_deletions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of them; a key that is deleted once more counts as new among them."""
    monkeypatch.setattr(table, "MOST_DELETED", 2)
    held = Table()
    for key, version in ((_A, 1), (_B, 1), (_A, 2), (b"c" * 16, 1)):
        assert held.apply(Told(key, version, None))
    assert [held.version(key) for key in (_A, _B)] == [2, 0]
    assert not held.apply(Told(_A, 1, b"late"))


def test_a_table_that_is_built_anew_shares_what_is_the_same() -> None:
    """A million keys are read a second time without room for two million."""
    old = Table()
    old.apply(Told(_A, 1, b"state"))
    old.apply(Told(_B, 1, b"state"))
    new = Table(like=old)
    new.apply(Told(_A, 1, b"state"))
    assert new.states[_A] is old.states[_A]
    new.loaded()
    assert list(new.differences(old)) == [_B]
    assert list(old.differences(new)) == [_B]
