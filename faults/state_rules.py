"""Invariants between the requests of clients, Postgres and the topic."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from faults.evidence import PostgresState, TopicRecord
from faults.history import Action, Call, Outcome, Tenant
from faults.topic_rules import version_of
from faults.violation import Violation

_NOT_FOUND: Final = 404
_EVENT_TYPES: Final = {
    "projectkey.create": "projectkey.created",
    "projectkey.edit": "projectkey.updated",
    "projectkey.remove": "projectkey.deleted",
}


def lost_keys(calls: Sequence[Call], stored: PostgresState) -> list[Violation]:
    """Return violations of I1."""
    return [
        Violation("I1", f"{key}: {problem}")
        for key, changes in _by_key(calls).items()
        for problem in _lost_changes(changes, stored, key)
    ]


def _by_key(calls: Iterable[Call]) -> Mapping[str, list[Call]]:
    found: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.key:
            found[call.key].append(call)
    return found


def _lost_changes(changes: Sequence[Call], stored: PostgresState, key: str) -> Iterable[str]:
    deletions = [call for call in changes if call.action is Action.DELETE and call.outcome is not Outcome.REFUSED]
    for call in changes:
        deletion_began = any(deletion.began < call.ended for deletion in deletions)
        if call.status == _NOT_FOUND and not deletion_began:
            yield "a request got 404 before a deletion was requested"
    row = stored.keys.get(key)
    is_deleted = row is None and key in stored.deleted
    if any(call.outcome is Outcome.OK for call in deletions) and not is_deleted:
        yield "its deletion was acknowledged, but it is not deleted"
    acknowledged = [call for call in changes if call.outcome is Outcome.OK]
    if row is None:
        if acknowledged and not (deletions and is_deleted):
            yield "it was acknowledged and is missing, but no deletion was requested"
        return
    if not any(
        call.label == row.label and call.outcome is not Outcome.REFUSED and not _is_replaced(call, acknowledged)
        for call in changes
    ):
        yield f"its name is {row.label!r}, which a later acknowledged change replaced"


def _is_replaced(change: Call, acknowledged: Iterable[Call]) -> bool:
    """Whether an acknowledged change began after this one ended; one with an unknown outcome may commit late."""
    return change.outcome is Outcome.OK and any(
        later.began > change.ended and later.label and later.label != change.label for later in acknowledged
    )


def lost_events(calls: Iterable[Call], stored: PostgresState, events: Sequence[TopicRecord]) -> list[Violation]:
    """Return violations of I2."""
    published = {record.headers.get("ce_id") for record in events}
    found = [
        Violation("I2", f"{change.key}: its {change.action} {event_id} is not in the topic")
        for event_id, change in stored.changes.items()
        if event_id not in published
    ]
    found += [
        Violation("I2", f"{call.key}: the acknowledged {call.action} {call.event_id} is not in the topic")
        for call in calls
        if call.outcome is Outcome.OK and call.event_id and call.event_id not in published
    ]
    newest: defaultdict[str, int] = defaultdict(int)
    for record in events:
        newest[record.key] = max(newest[record.key], version_of(record))
    versions = {key: row.version for key, row in stored.keys.items()} | dict(stored.deleted)
    found += [
        Violation("I2", f"{key}: its version is {version} in Postgres, {newest[key]} in the topic")
        for key, version in versions.items()
        if newest[key] != version
    ]
    if stored.outbox_rows:
        found.append(Violation("I2", f"{stored.outbox_rows} events are still in the outbox"))
    return found


def phantoms(calls: Sequence[Call], stored: PostgresState, events: Sequence[TopicRecord]) -> list[Violation]:
    """Return violations of I3."""
    requested = {call.label for call in calls if call.label and call.outcome is not Outcome.REFUSED}
    refused = {call.label for call in calls if call.label} - requested
    distinct_events = Counter(
        (record.key, state_of(record).get("name"), record.headers["ce_type"])
        for record in {record.headers.get("ce_id"): record for record in events if record.value}.values()
        if record.headers["ce_type"] != "projectkey.deleted"
    )
    found = [
        Violation("I3", f"{key}: the change {name!r} has {number} different events")
        for (key, name, _), number in distinct_events.items()
        if number > 1
    ]
    for record in events:
        if record.value is not None:
            found += [
                Violation("I3", f"{record.key}: {details}")
                for details in _phantom_details(record, stored, requested, refused)
            ]
    return found


def _phantom_details(
    record: TopicRecord, stored: PostgresState, requested: set[str], refused: set[str]
) -> Iterable[str]:
    event_id, state = record.headers.get("ce_id", ""), state_of(record)
    change = stored.changes.get(event_id)
    if change is None or change.key != record.key or _EVENT_TYPES[change.action] != record.headers["ce_type"]:
        yield f"the event {event_id} describes a change that is not committed"
    name = str(state.get("name"))
    if name in refused:
        yield f"the request for {name!r} was refused"
    elif name not in requested:
        yield f"no client requested {name!r}"
    if state.get("id") != record.key or state.get("version") != version_of(record):
        yield f"headers and payload of the event {event_id} differ"
    row = stored.keys.get(record.key)
    if row is not None and row.version == version_of(record) and row.label != name:
        yield f"version {row.version} is {row.label!r} in Postgres and {name!r} in the topic"


def idempotency(calls: Iterable[Call], stored: PostgresState, events: Sequence[TopicRecord]) -> list[Violation]:
    """Return violations of I6.

    One creation creates at most one key even without an idempotency key, because the service itself retries.
    """
    keys_by_label: defaultdict[str, set[str]] = defaultdict(set)
    for key, row in stored.keys.items():
        keys_by_label[row.label].add(key)
    for record in events:
        if record.headers["ce_type"] == "projectkey.created" and record.value is not None:
            keys_by_label[str(state_of(record).get("name"))].add(record.key)
    responses: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for call in calls:
        if call.idempotency_key and call.outcome is Outcome.OK:
            responses[call.idempotency_key].add((call.key, call.event_id, call.secret))
            keys_by_label[call.label].add(call.key)
    found = [
        Violation("I6", f"{len(keys)} keys have the name {label!r}")
        for label, keys in keys_by_label.items()
        if len(keys) > 1
    ]
    found += [
        Violation("I6", f"the idempotency key {key!r} has {len(different)} different responses")
        for key, different in responses.items()
        if len(different) > 1
    ]
    return found + [
        Violation("I6", f"the idempotency key {key!r} has {number} rows")
        for key, number in stored.idempotency_keys.items()
        if number > 1 or (number == 1 and len(responses.get(key, ())) > 1)
    ]


def tenants(calls: Iterable[Call], stored: PostgresState, events: Iterable[TopicRecord]) -> list[Violation]:
    """Return violations of I7."""
    by_key: dict[str, Tenant] = {call.key: call.tenant for call in calls if call.key}
    by_label = {call.label: call.tenant for call in calls if call.label}
    found = [
        Violation("I7", f"{key}: it belongs to project {row.project_id}")
        for key, row in stored.keys.items()
        if not _owns(by_label.get(row.label), row.organization_id, row.project_id)
        or not _owns(by_key.get(key), row.organization_id, row.project_id)
    ]
    for record in events:
        if record.value is not None:
            state = state_of(record)
            if not _owns(by_key.get(record.key), state.get("organizationId"), state.get("projectId")):
                found.append(Violation("I7", f"{record.key}: an event contains another project"))
    return found


def _owns(tenant: Tenant | None, organization_id: object, project_id: object) -> bool:
    """Whether the project is the requested one; True for a key that no response contained."""
    return tenant is None or (tenant.organization_id, tenant.project_id) == (organization_id, project_id)


def state_of(record: TopicRecord) -> Mapping[str, Any]:
    """Return the state of the key in a record; empty without one."""
    try:
        state = json.loads(record.value or b"{}")
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}
