"""Invariants of the topic alone: order and duplicates."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from faults.evidence import TopicRecord
from faults.history import Call, Outcome
from faults.violation import Violation


def version_of(record: TopicRecord) -> int:
    """Return the version of the key in a record; 0 without one."""
    text = record.headers.get("ce_keyversion", "")
    return int(text) if text.isdecimal() else 0


def by_key(events: Iterable[TopicRecord]) -> Mapping[str, list[TopicRecord]]:
    """Group the events by key, in the order of the topic."""
    found: defaultdict[str, list[TopicRecord]] = defaultdict(list)
    for record in events:
        found[record.key].append(record)
    return found


def first_copies(records: Iterable[TopicRecord]) -> list[TopicRecord]:
    """Leave out copies of earlier records."""
    seen: dict[str, TopicRecord] = {}
    for record in records:
        seen.setdefault(record.headers.get("ce_id", ""), record)
    return list(seen.values())


def order(events: Sequence[TopicRecord]) -> list[Violation]:
    """Return violations of I4 within the topic."""
    return [
        Violation("I4", f"{key}: {problem}")
        for key, records in by_key(events).items()
        for problem in _disorder(records)
    ]


def _disorder(records: Sequence[TopicRecord]) -> Iterable[str]:
    if len({record.partition for record in records}) > 1:
        yield "its events are in different partitions"
    first = first_copies(records)
    states = [record for record in first if record.value is not None]
    versions = [version_of(record) for record in states]
    if versions != list(range(1, len(versions) + 1)):
        yield f"its versions appear as {versions}"
    kinds = [record.headers["ce_type"] for record in states]
    if "projectkey.deleted" in kinds[:-1]:
        yield "an event follows its deletion"
    deleted = kinds[-1:] == ["projectkey.deleted"]
    tombstones = [record for record in first if record.value is None]
    if len(tombstones) != deleted:
        yield f"it has {len(tombstones)} tombstones, {'and' if deleted else 'but'} {int(deleted)} deletion"
    # The record that compaction keeps.
    last = records[-1]
    if version_of(last) != max(map(version_of, records)) or (deleted and last.value is not None):
        yield f"its last record is version {version_of(last)}, not its newest"


def real_time(calls: Iterable[Call], events: Sequence[TopicRecord]) -> list[Violation]:
    """Return violations of I4 by time: a change acknowledged before another one began has a lower version."""
    versions = {record.headers.get("ce_id", ""): version_of(record) for record in events}
    acknowledged: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.outcome is Outcome.OK and call.event_id in versions:
            acknowledged[call.key].append(call)
    found = []
    for key, changes in acknowledged.items():
        changes.sort(key=lambda call: call.ended)
        for earlier in changes:
            for later in changes:
                before, after = versions[earlier.event_id], versions[later.event_id]
                same = earlier.event_id == later.event_id
                if not same and earlier.ended < later.began and before >= after:
                    found.append(Violation("I4", f"{key}: version {before} was acknowledged before {after} began"))
    return found


def duplicates(events: Sequence[TopicRecord], *, allowed: int) -> list[Violation]:
    """Return violations of I5."""
    forms: defaultdict[str, set[tuple[str, bytes | None, tuple[tuple[str, str], ...]]]] = defaultdict(set)
    for record in events:
        forms[record.headers.get("ce_id", "")].add((record.key, record.value, tuple(sorted(record.headers.items()))))
    found = [Violation("I5", f"copies of {event_id} differ") for event_id, seen in forms.items() if len(seen) > 1]
    if "" in forms:
        found.append(Violation("I5", "a record has no ce_id"))
    copies = len(events) - len(forms)
    if copies > allowed:
        found.append(Violation("I5", f"{copies} copies, the faults explain {allowed}"))
    return found
