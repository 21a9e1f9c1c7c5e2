"""What must hold between the callers' history, Postgres and the log."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from faults.evidence import DiffStore, Logged
from faults.history import Action, Call, Outcome, Tenant
from faults.log_rules import version_of
from faults.violation import Violation

_GONE: Final = 404
_KINDS: Final = {
    "projectkey.create": "projectkey.created",
    "projectkey.edit": "projectkey.updated",
    "projectkey.remove": "projectkey.deleted",
}


def lost_keys(calls: Sequence[Call], ledger: DiffStore) -> list[Violation]:
    """I1."""
    return [
        Violation("I1", f"{key}: {complaint}")
        for key, changes in _of_keys(calls).items()
        for complaint in _losses(changes, ledger, key)
    ]


def _of_keys(calls: Iterable[Call]) -> Mapping[str, list[Call]]:
    found: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.key:
            found[call.key].append(call)
    return found


def _losses(changes: Sequence[Call], ledger: DiffStore, key: str) -> Iterable[str]:
    deletions = [one for one in changes if one.action is Action.DELETE and one.outcome is not Outcome.REFUSED]
    for one in changes:
        asked_before = any(deletion.began < one.ended for deletion in deletions)
        if one.status == _GONE and not asked_before:
            yield "it was not found, and nobody had deleted it"
    row = ledger.keys.get(key)
    if any(one.outcome is Outcome.OK for one in deletions) and (row is not None or key not in ledger.gone):
        yield "its deletion was acknowledged, and it is not deleted"
    known = [one for one in changes if one.outcome is Outcome.OK]
    if row is None:
        if known and not (deletions and key in ledger.gone):
            yield "it was acknowledged, and is gone though nobody deleted it"
        return
    standing = [
        one
        for one in changes
        if one.label == row.label and one.outcome is not Outcome.REFUSED and not _is_past(one, known)
    ]
    if not standing:
        yield f"it is called {row.label!r}, which a later acknowledged change has replaced"


def _is_past(change: Call, known: Iterable[Call]) -> bool:
    """Whether an acknowledged change began after this one had ended; an unknown one may end late."""
    return change.outcome is Outcome.OK and any(
        later.began > change.ended and later.label and later.label != change.label for later in known
    )


def lost_events(calls: Iterable[Call], ledger: DiffStore, events: Sequence[Logged]) -> list[Violation]:
    """I2."""
    told = {record.headers.get("ce_id"): record for record in events}
    found = [
        Violation("I2", f"{change.key}: its {change.action} {one} is not in the log")
        for one, change in ledger.changes.items()
        if one not in told
    ]
    found += [
        Violation("I2", f"{call.key}: the acknowledged {call.action} {call.event_id} is not in the log")
        for call in calls
        if call.outcome is Outcome.OK and call.event_id and call.event_id not in told
    ]
    newest: defaultdict[str, int] = defaultdict(int)
    for record in events:
        newest[record.key] = max(newest[record.key], version_of(record))
    versions = {key: row.version for key, row in ledger.keys.items()} | dict(ledger.gone)
    found += [
        Violation("I2", f"{key}: it has version {version}, the log {newest[key]}")
        for key, version in versions.items()
        if newest[key] != version
    ]
    if ledger.waiting:
        found.append(Violation("I2", f"{ledger.waiting} events still wait in the outbox"))
    return found


def phantoms(calls: Sequence[Call], ledger: DiffStore, events: Sequence[Logged]) -> list[Violation]:
    """I3."""
    asked = {call.label: call for call in calls if call.label and call.outcome is not Outcome.REFUSED}
    refused = {call.label for call in calls if call.label} - asked.keys()
    once = Counter(
        (record.key, state_of(record).get("name"), record.headers["ce_type"])
        for record in {record.headers.get("ce_id"): record for record in events if record.value}.values()
        if record.headers["ce_type"] != "projectkey.deleted"
    )
    found = [
        Violation("I3", f"{key}: the change {name!r} was told {number} times, as different events")
        for (key, name, _), number in once.items()
        if number > 1
    ]
    for record in events:
        if record.value is not None:
            found += [
                Violation("I3", f"{record.key}: {what}")
                for what in _inventions(record, ledger, asked, refused)
            ]
    return found


def _inventions(
    record: Logged, ledger: DiffStore, asked: Mapping[str, Call], refused: set[str]
) -> Iterable[str]:
    event_id, state = record.headers.get("ce_id", ""), state_of(record)
    change = ledger.changes.get(event_id)
    if change is None or change.key != record.key or _KINDS[change.action] != record.headers["ce_type"]:
        yield f"the event {event_id} tells of a change that is not committed"
    name = str(state.get("name"))
    if name in refused:
        yield f"{name!r} was refused"
    elif name not in asked:
        yield f"nobody asked for {name!r}"
    if state.get("id") != record.key or state.get("version") != version_of(record):
        yield f"the event {event_id} contradicts itself"
    row = ledger.keys.get(record.key)
    if row is not None and row.version == version_of(record) and row.label != name:
        yield f"version {row.version} is {row.label!r} in Postgres and {name!r} in the log"


def idempotency(calls: Iterable[Call], ledger: DiffStore, events: Sequence[Logged]) -> list[Violation]:
    """I6; creations without an idempotency key are bound likewise, for the service itself tries them again."""
    made: defaultdict[str, set[str]] = defaultdict(set)
    for key, row in ledger.keys.items():
        made[row.label].add(key)
    for record in events:
        if record.headers["ce_type"] == "projectkey.created" and record.value is not None:
            made[str(state_of(record).get("name"))].add(record.key)
    answers: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for call in calls:
        if call.once and call.outcome is Outcome.OK:
            answers[call.once].add((call.key, call.event_id, call.secret))
            made[call.label].add(call.key)
    found = [
        Violation("I6", f"{len(keys)} keys are called {label!r}")
        for label, keys in made.items()
        if len(keys) > 1
    ]
    found += [
        Violation("I6", f"the idempotency key {once!r} was answered in {len(told)} ways")
        for once, told in answers.items()
        if len(told) > 1
    ]
    return found + [
        Violation("I6", f"the idempotency key {once!r} has {number} rows")
        for once, number in ledger.once.items()
        if number > 1 or (number == 1 and len(answers.get(once, ())) > 1)
    ]


def tenants(calls: Iterable[Call], ledger: DiffStore, events: Iterable[Logged]) -> list[Violation]:
    """I7."""
    owner: dict[str, Tenant] = {call.key: call.tenant for call in calls if call.key}
    owner_of_label = {call.label: call.tenant for call in calls if call.label}
    found = [
        Violation("I7", f"{key}: it belongs to project {row.project_id}")
        for key, row in ledger.keys.items()
        if not _owns(owner_of_label.get(row.label), row.organization_id, row.project_id)
        or not _owns(owner.get(key), row.organization_id, row.project_id)
    ]
    for record in events:
        if record.value is not None:
            state = state_of(record)
            if not _owns(owner.get(record.key), state.get("organizationId"), state.get("projectId")):
                found.append(Violation("I7", f"{record.key}: an event names another project"))
    return found


def _owns(tenant: Tenant | None, organization_id: object, project_id: object) -> bool:
    """Of a key that nobody was told of there is nothing to compare."""
    return tenant is None or (tenant.organization_id, tenant.project_id) == (organization_id, project_id)


def state_of(record: Logged) -> Mapping[str, Any]:
    """The state that a record holds; empty where it holds none."""
    try:
        state = json.loads(record.value or b"{}")
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}
