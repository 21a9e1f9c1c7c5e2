"""What must hold of the log by itself: order and copies."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from faults.evidence import Logged
from faults.history import Call, Outcome
from faults.violation import Violation


def version_of(record: Logged) -> int:
    """The key's version that a record tells of; 0 if it does not say."""
    text = record.headers.get("ce_keyversion", "")
    return int(text) if text.isdecimal() else 0


def by_key(events: Iterable[Logged]) -> Mapping[str, list[Logged]]:
    """The events of each key in the order of the log."""
    found: defaultdict[str, list[Logged]] = defaultdict(list)
    for record in events:
        found[record.key].append(record)
    return found


def first_copies(records: Iterable[Logged]) -> list[Logged]:
    """Records without later copies of them."""
    seen: dict[str, Logged] = {}
    for record in records:
        seen.setdefault(record.headers.get("ce_id", ""), record)
    return list(seen.values())


def order(events: Sequence[Logged]) -> list[Violation]:
    """I4, of the log alone."""
    return [
        Violation("I4", f"{key}: {complaint}")
        for key, records in by_key(events).items()
        for complaint in _disorder(records)
    ]


def _disorder(records: Sequence[Logged]) -> Iterable[str]:
    if len({record.partition for record in records}) > 1:
        yield "its events are in several partitions"
    first = first_copies(records)
    states = [record for record in first if record.value is not None]
    versions = [version_of(record) for record in states]
    if versions != list(range(1, len(versions) + 1)):
        yield f"its versions appear as {versions}"
    kinds = [record.headers["ce_type"] for record in states]
    if "projectkey.deleted" in kinds[:-1]:
        yield "something follows its deletion"
    deleted = kinds[-1:] == ["projectkey.deleted"]
    tombstones = [record for record in first if record.value is None]
    if len(tombstones) != deleted:
        yield f"it has {len(tombstones)} tombstones, {'and' if deleted else 'but'} {int(deleted)} deletion"
    # What compaction will keep.
    last = records[-1]
    if version_of(last) != max(map(version_of, records)) or (deleted and last.value is not None):
        yield f"its last record is version {version_of(last)}, not its newest"


def real_time(calls: Iterable[Call], events: Sequence[Logged]) -> list[Violation]:
    """I4, against the callers' clock: a change acknowledged before another one began has a lower version."""
    versions = {record.headers.get("ce_id", ""): version_of(record) for record in events}
    known: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.outcome is Outcome.OK and call.event_id in versions:
            known[call.key].append(call)
    found = []
    for key, changes in known.items():
        changes.sort(key=lambda call: call.ended)
        for earlier in changes:
            for later in changes:
                before, after = versions[earlier.event_id], versions[later.event_id]
                same = earlier.event_id == later.event_id
                if not same and earlier.ended < later.began and before >= after:
                    found.append(
                        Violation("I4", f"{key}: version {before} was acknowledged before {after} began")
                    )
    return found


def duplicates(events: Sequence[Logged], *, allowed: int) -> list[Violation]:
    """I5."""
    forms: defaultdict[str, set[tuple[str, bytes | None, tuple[tuple[str, str], ...]]]] = defaultdict(set)
    for record in events:
        forms[record.headers.get("ce_id", "")].add(
            (record.key, record.value, tuple(sorted(record.headers.items())))
        )
    found = [Violation("I5", f"copies of {one} differ") for one, seen in forms.items() if len(seen) > 1]
    if "" in forms:
        found.append(Violation("I5", "a record has no ce_id"))
    copies = len(events) - len(forms)
    if copies > allowed:
        found.append(Violation("I5", f"{copies} copies, {allowed} are explained by faults"))
    return found
