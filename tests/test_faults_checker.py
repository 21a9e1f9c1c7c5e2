"""The checker of the fault experiments detects each kind of violation."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid5

from faults.checker import Verdict, check
from faults.evidence import Change, KeyRow, PostgresState, TopicRecord
from faults.history import Action, Call, Outcome, Tenant

_TENANT: Final = Tenant(1, 2, "/api/0/projects/org/project/keys/")
_KEY: Final = "a" * 32
_SECRET: Final = "5" * 32
_SPACE: Final = UUID(int=7)
_KINDS: Final = {"created": "projectkey.create", "updated": "projectkey.edit", "deleted": "projectkey.remove"}


def _id(version: int, key: str = _KEY) -> str:
    return str(uuid5(_SPACE, f"{key} {version}"))


def _call(action: Action, version: int, **changed: object) -> Call:
    call = Call(
        action,
        _TENANT,
        "" if action is Action.DELETE else f"v{version}",
        began=float(version),
        ended=version + 0.5,
        outcome=Outcome.OK,
        status=200,
        key=_KEY,
        event_id=_id(version),
    )
    return replace(call, **changed)  # type: ignore[arg-type]  # -- named by the tests


def _record(kind: str, version: int, offset: int, **state: object) -> TopicRecord:
    name = f"v{version - (kind == 'deleted')}"
    value = {"id": _KEY, "version": version, "organizationId": 1, "projectId": 2, "name": name} | state
    headers = {"ce_id": _id(version), "ce_type": f"projectkey.{kind}", "ce_keyversion": str(version)}
    return TopicRecord(3, offset, _KEY, json.dumps(value).encode(), headers)


def _tombstone(version: int, offset: int) -> TopicRecord:
    headers = {"ce_id": "tombstone", "ce_type": "projectkey.deleted", "ce_keyversion": str(version)}
    return TopicRecord(3, offset, _KEY, None, headers)


def _stored(*kinds: str, deleted: bool = False, **changed: object) -> PostgresState:
    versions = len(kinds)
    row = KeyRow(1, 2, f"v{versions}", versions, _SECRET)
    state = PostgresState(
        keys={} if deleted else {_KEY: row},
        deleted={_KEY: versions} if deleted else {},
        changes={_id(number): Change(_KINDS[kind], _KEY) for number, kind in enumerate(kinds, 1)},
    )
    return replace(state, **changed)  # type: ignore[arg-type]  # -- named by the tests


_CALLS: Final = (_call(Action.CREATE, 1, secret=_SECRET), _call(Action.UPDATE, 2), _call(Action.UPDATE, 3))
_RECORDS: Final = (_record("created", 1, 0), _record("updated", 2, 1), _record("updated", 3, 2))
_STATE: Final = _stored("created", "updated", "updated")


def _verdict(
    calls: Sequence[Call] = _CALLS,
    stored: PostgresState = _STATE,
    records: Sequence[TopicRecord] = _RECORDS,
    *,
    allowed: int = 0,
    texts: Sequence[str] = (),
) -> Verdict:
    return check(calls, stored, records, duplicates_allowed=allowed, texts=texts)


def _violated(verdict: Verdict) -> set[str]:
    return {violation.invariant for violation in verdict.violations}


def test_a_correct_run_has_no_violations() -> None:
    """A creation and two updates; the same with a deletion; the same with as many copies as a fault allows."""
    verdict = _verdict()
    assert (verdict.violations, verdict.acknowledged, verdict.duplicates) == ([], 3, 0)
    calls = (*_CALLS, _call(Action.DELETE, 4))
    stored = _stored("created", "updated", "updated", "deleted", deleted=True)
    records = (*_RECORDS, _record("deleted", 4, 3), _tombstone(4, 4))
    assert _verdict(calls, stored, records).violations == []
    copied = (*_RECORDS, *(replace(record, offset=record.offset + 3) for record in _RECORDS))
    assert _verdict(records=copied, allowed=3).violations == []


def test_a_change_with_an_unknown_outcome_may_be_committed_or_not() -> None:
    """After a 503 or a broken connection the change may still be committed later."""
    unknown = _call(Action.UPDATE, 3, outcome=Outcome.UNKNOWN, event_id="", status=503)
    assert _verdict((*_CALLS[:2], unknown)).violations == []
    assert _verdict((*_CALLS[:2], unknown), _stored("created", "updated"), _RECORDS[:2]).violations == []


def test_an_event_published_before_its_commit_is_a_phantom() -> None:
    """The transaction was rolled back, or never began."""
    assert _violated(_verdict(_CALLS[:2], _stored("created", "updated"), _RECORDS)) == {"I2", "I3"}
    not_requested = replace(_RECORDS[2], value=_record("updated", 3, 2, name="not requested").value)
    assert "I3" in _violated(_verdict(records=(*_RECORDS[:2], not_requested)))


def test_a_refused_change_that_is_committed_is_a_phantom() -> None:
    """After a 4xx nothing may be committed."""
    refused = _call(Action.UPDATE, 3, outcome=Outcome.REFUSED, status=400, event_id="")
    assert "I3" in _violated(_verdict((*_CALLS[:2], refused)))


def test_skipped_outbox_rows_are_lost_events() -> None:
    """`id > last` skips a row whose transaction commits late."""
    records = (_RECORDS[0], _RECORDS[2])
    assert _violated(_verdict(records=records)) == {"I2", "I4"}
    assert "I2" in _violated(_verdict(records=_RECORDS[:2]))


def test_events_that_remain_in_the_outbox_are_lost() -> None:
    """After recovery everything must be published."""
    assert _violated(_verdict(stored=replace(_STATE, outbox_rows=1))) == {"I2"}


def test_a_missing_tombstone_is_detected() -> None:
    """Compaction would keep a deleted key."""
    calls = (*_CALLS, _call(Action.DELETE, 4))
    stored = _stored("created", "updated", "updated", "deleted", deleted=True)
    assert _violated(_verdict(calls, stored, (*_RECORDS, _record("deleted", 4, 3)))) == {"I4"}


def test_an_exposed_secret_is_detected() -> None:
    """It is in an event's value, its headers, the audit log or a log; a token counts as a secret too."""
    event = replace(_RECORDS[2], value=_record("updated", 3, 2, secret=_SECRET).value)
    assert _violated(_verdict(records=(*_RECORDS[:2], event))) == {"I8"}
    header = replace(_RECORDS[2], headers={**_RECORDS[2].headers, "x": f"Bearer {_SECRET}"})
    assert _violated(_verdict(records=(*_RECORDS[:2], header))) == {"I8"}
    assert _violated(_verdict(stored=replace(_STATE, texts=[f'{{"secret": "{_SECRET}"}}']))) == {"I8"}
    assert _violated(_verdict(texts=[f"dsn=http://{_KEY}:{_SECRET}@host/1"])) == {"I8"}
    token = "ab" * 32
    assert _violated(check(_CALLS, _STATE, _RECORDS, duplicates_allowed=0, texts=[token], tokens=[f"sntryu_{token}"]))


def test_two_owners_of_a_shard_are_detected() -> None:
    """Both publish all events, so that there are copies without a fault; or one publishes old versions late."""
    twice = tuple(replace(record, offset=2 * record.offset + copy) for record in _RECORDS for copy in (0, 1))
    assert _violated(_verdict(records=twice)) == {"I5"}
    late = (*_RECORDS, replace(_RECORDS[1], offset=3))
    assert _violated(_verdict(records=late, allowed=1)) == {"I4"}, "compaction would keep the old version"


def test_reordered_events_are_detected() -> None:
    """The first occurrences must be in the order of the versions."""
    records = (_RECORDS[0], replace(_RECORDS[2], offset=1), replace(_RECORDS[1], offset=2))
    assert _violated(_verdict(records=records)) == {"I4"}


def test_versions_that_contradict_the_time_of_requests_are_detected() -> None:
    """The second change was acknowledged before the third began, and got the higher version."""
    calls = (_CALLS[0], _call(Action.UPDATE, 2, began=8.0, ended=9.0), _CALLS[2])
    assert "I4" in _violated(_verdict(calls))


def test_an_event_after_a_deletion_is_detected() -> None:
    """Consumers would restore the key."""
    records = (_RECORDS[0], _record("deleted", 2, 1, name="v1"), _tombstone(2, 2), _RECORDS[2])
    assert "I4" in _violated(_verdict(records=records))


def test_copies_that_differ_are_detected() -> None:
    """A retry sends the same bytes."""
    other = replace(_RECORDS[2], offset=3, value=(_RECORDS[2].value or b"") + b" ")
    assert _violated(_verdict(records=(*_RECORDS, other), allowed=1)) == {"I5"}


def test_a_lost_key_is_detected() -> None:
    """A key is missing or reverted after its acknowledgement, is 404 without a deletion, or remains after one."""
    assert "I1" in _violated(_verdict(stored=replace(_STATE, keys={})))
    assert "I1" in _violated(_verdict(_CALLS, _stored("created", "updated"), _RECORDS[:2]))
    missing = _call(Action.UPDATE, 4, outcome=Outcome.REFUSED, status=404, event_id="")
    assert _violated(_verdict((*_CALLS, missing))) == {"I1"}
    assert "I1" in _violated(_verdict((*_CALLS, _call(Action.DELETE, 4, event_id=""))))


def test_an_idempotency_key_with_two_results_is_detected() -> None:
    """Two responses have different keys or events, or a creation was committed twice."""
    other = "b" * 32
    first = replace(_CALLS[0], idempotency_key="x")
    again = replace(first, key=other)
    assert "I6" in _violated(_verdict((first, again, *_CALLS[1:])))
    assert "I6" in _violated(_verdict((first, replace(first, event_id=_id(9)), *_CALLS[1:])))
    row = KeyRow(1, 2, "v1", 1, "6" * 32)
    event = replace(
        _RECORDS[0],
        key=other,
        value=_record("created", 1, 0, id=other).value,
        headers={**_RECORDS[0].headers, "ce_id": _id(1, other)},
    )
    twice = replace(
        _STATE,
        keys={**_STATE.keys, other: row},
        changes={**_STATE.changes, _id(1, other): Change("projectkey.create", other)},
    )
    assert _violated(_verdict(stored=twice, records=(*_RECORDS, event))) == {"I6"}


def test_data_of_another_tenant_is_detected() -> None:
    """It is in a row or in an event."""
    row = replace(_STATE.keys[_KEY], project_id=3)
    assert _violated(_verdict(stored=replace(_STATE, keys={_KEY: row}))) == {"I7"}
    event = replace(_RECORDS[2], value=_record("updated", 3, 2, organizationId=9).value)
    assert _violated(_verdict(records=(*_RECORDS[:2], event))) == {"I7"}
