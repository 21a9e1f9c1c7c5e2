"""The checker of the fault experiments can fail: each kind of broken promise, made up, is found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid5

from faults.checker import Verdict, check
from faults.evidence import Change, DiffStore, Logged, Row
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


def _record(kind: str, version: int, offset: int, **state: object) -> Logged:
    name = f"v{version - (kind == 'deleted')}"
    value = {"id": _KEY, "version": version, "organizationId": 1, "projectId": 2, "name": name} | state
    headers = {"ce_id": _id(version), "ce_type": f"projectkey.{kind}", "ce_keyversion": str(version)}
    return Logged(3, offset, _KEY, json.dumps(value).encode(), headers)


def _tombstone(version: int, offset: int) -> Logged:
    headers = {"ce_id": "tombstone", "ce_type": "projectkey.deleted", "ce_keyversion": str(version)}
    return Logged(3, offset, _KEY, None, headers)


def _ledger(*kinds: str, deleted: bool = False, **changed: object) -> DiffStore:
    versions = len(kinds)
    row = Row(1, 2, f"v{versions}", versions, _SECRET)
    made = DiffStore(
        keys={} if deleted else {_KEY: row},
        gone={_KEY: versions} if deleted else {},
        changes={_id(number): Change(_KINDS[kind], _KEY) for number, kind in enumerate(kinds, 1)},
    )
    return replace(made, **changed)  # type: ignore[arg-type]  # -- named by the tests


_CALLS: Final = (_call(Action.CREATE, 1, secret=_SECRET), _call(Action.UPDATE, 2), _call(Action.UPDATE, 3))
_LOG: Final = (_record("created", 1, 0), _record("updated", 2, 1), _record("updated", 3, 2))
_STATE: Final = _ledger("created", "updated", "updated")


def _verdict(
    calls: Sequence[Call] = _CALLS,
    ledger: DiffStore = _STATE,
    log: Sequence[Logged] = _LOG,
    *,
    allowed: int = 0,
    texts: Sequence[str] = (),
) -> Verdict:
    return check(calls, ledger, log, duplicates_allowed=allowed, texts=texts)


def _broken(verdict: Verdict) -> set[str]:
    return {one.invariant for one in verdict.violations}


def test_a_good_run_is_passed() -> None:
    """Created, changed twice; and one that is deleted; and copies that a fault explains."""
    verdict = _verdict()
    assert (verdict.violations, verdict.acknowledged, verdict.duplicates) == ([], 3, 0)
    calls = (*_CALLS, _call(Action.DELETE, 4))
    ledger = _ledger("created", "updated", "updated", "deleted", deleted=True)
    gone = (*_LOG, _record("deleted", 4, 3), _tombstone(4, 4))
    assert _verdict(calls, ledger, gone).violations == []
    copied = (*_LOG, *(replace(one, offset=one.offset + 3) for one in _LOG))
    assert _verdict(log=copied, allowed=3).violations == []


def test_a_change_that_nobody_knows_of_may_have_happened_or_not() -> None:
    """A 503 or a broken connection is no refusal; it may end later than the caller's next change."""
    unknown = _call(Action.UPDATE, 3, outcome=Outcome.UNKNOWN, event_id="", status=503)
    assert _verdict((*_CALLS[:2], unknown)).violations == []
    assert _verdict((*_CALLS[:2], unknown), _ledger("created", "updated"), _LOG[:2]).violations == []


def test_an_event_published_before_its_commit_is_a_phantom() -> None:
    """The transaction was rolled back, or never was: Postgres knows nothing of it."""
    assert _broken(_verdict(_CALLS[:2], _ledger("created", "updated"), _LOG)) == {"I2", "I3"}
    nobody = replace(_LOG[2], value=_record("updated", 3, 2, name="nobody's").value)
    assert "I3" in _broken(_verdict(log=(*_LOG[:2], nobody)))


def test_a_refused_change_that_happens_is_a_phantom() -> None:
    """A 4xx says that nothing was done."""
    refused = _call(Action.UPDATE, 3, outcome=Outcome.REFUSED, status=400, event_id="")
    assert "I3" in _broken(_verdict((*_CALLS[:2], refused)))


def test_following_the_outbox_by_its_numbers_loses_events() -> None:
    """`id > last` passes over a row whose transaction commits late."""
    log = (_LOG[0], _LOG[2])
    assert _broken(_verdict(log=log)) == {"I2", "I4"}
    assert "I2" in _broken(_verdict(log=_LOG[:2]))


def test_what_waits_in_the_outbox_for_ever_is_lost() -> None:
    """Everything has to converge after the faults."""
    assert _broken(_verdict(ledger=replace(_STATE, waiting=1))) == {"I2"}


def test_a_missing_tombstone_is_found() -> None:
    """Compaction would keep a deleted key for ever."""
    calls = (*_CALLS, _call(Action.DELETE, 4))
    ledger = _ledger("created", "updated", "updated", "deleted", deleted=True)
    assert _broken(_verdict(calls, ledger, (*_LOG, _record("deleted", 4, 3)))) == {"I4"}


def test_a_secret_is_found_wherever_it_stands() -> None:
    """In an event's value, in its headers, in the audit, in a log."""
    event = replace(_LOG[2], value=_record("updated", 3, 2, secret=_SECRET).value)
    assert _broken(_verdict(log=(*_LOG[:2], event))) == {"I8"}
    header = replace(_LOG[2], headers={**_LOG[2].headers, "x": f"Bearer {_SECRET}"})
    assert _broken(_verdict(log=(*_LOG[:2], header))) == {"I8"}
    assert _broken(_verdict(ledger=replace(_STATE, texts=[f'{{"secret": "{_SECRET}"}}']))) == {"I8"}
    assert _broken(_verdict(texts=[f"dsn=http://{_KEY}:{_SECRET}@host/1"])) == {"I8"}
    token = "ab" * 32
    assert _broken(
        check(_CALLS, _STATE, _LOG, duplicates_allowed=0, texts=[token], tokens=[f"sntryu_{token}"])
    )


def test_two_owners_of_a_shard_are_found() -> None:
    """Both send everything: copies without a fault. A late one sends old versions after newer ones."""
    twice = tuple(replace(one, offset=2 * one.offset + copy) for one in _LOG for copy in (0, 1))
    assert _broken(_verdict(log=twice)) == {"I5"}
    late = (*_LOG, replace(_LOG[1], offset=3))
    assert _broken(_verdict(log=late, allowed=1)) == {"I4"}, "compaction would keep the old version"


def test_an_overtaken_event_is_found() -> None:
    """First occurrences come in the order of the versions."""
    log = (_LOG[0], replace(_LOG[2], offset=1), replace(_LOG[1], offset=2))
    assert _broken(_verdict(log=log)) == {"I4"}


def test_versions_contradict_the_callers_clock() -> None:
    """The second change was acknowledged before the third began, and got the higher version."""
    calls = (_CALLS[0], _call(Action.UPDATE, 2, began=8.0, ended=9.0), _CALLS[2])
    assert "I4" in _broken(_verdict(calls))


def test_what_follows_a_deletion_is_found() -> None:
    """Consumers would bring the key to life again."""
    log = (_LOG[0], _record("deleted", 2, 1, name="v1"), _tombstone(2, 2), _LOG[2])
    assert "I4" in _broken(_verdict(log=log))


def test_copies_that_differ_are_found() -> None:
    """A resend has the same bytes."""
    other = replace(_LOG[2], offset=3, value=(_LOG[2].value or b"") + b" ")
    assert _broken(_verdict(log=(*_LOG, other), allowed=1)) == {"I5"}


def test_a_lost_key_is_found() -> None:
    """Acknowledged and gone; acknowledged and undone; not found though nobody deleted it; deleted and there."""
    assert "I1" in _broken(_verdict(ledger=replace(_STATE, keys={})))
    assert "I1" in _broken(_verdict(_CALLS, _ledger("created", "updated"), _LOG[:2]))
    missing = _call(Action.UPDATE, 4, outcome=Outcome.REFUSED, status=404, event_id="")
    assert _broken(_verdict((*_CALLS, missing))) == {"I1"}
    assert "I1" in _broken(_verdict((*_CALLS, _call(Action.DELETE, 4, event_id=""))))


def test_an_idempotency_key_that_made_two_keys_is_found() -> None:
    """Or one that was answered with another key, or another event; and a creation that was done twice."""
    other = "b" * 32
    first = replace(_CALLS[0], once="x")
    again = replace(first, key=other)
    assert "I6" in _broken(_verdict((first, again, *_CALLS[1:])))
    assert "I6" in _broken(_verdict((first, replace(first, event_id=_id(9)), *_CALLS[1:])))
    row = Row(1, 2, "v1", 1, "6" * 32)
    event = replace(
        _LOG[0],
        key=other,
        value=_record("created", 1, 0, id=other).value,
        headers={**_LOG[0].headers, "ce_id": _id(1, other)},
    )
    twice = replace(
        _STATE,
        keys={**_STATE.keys, other: row},
        changes={**_STATE.changes, _id(1, other): Change("projectkey.create", other)},
    )
    assert _broken(_verdict(ledger=twice, log=(*_LOG, event))) == {"I6"}


def test_what_belongs_to_another_tenant_is_found() -> None:
    """A row, or an event."""
    row = replace(_STATE.keys[_KEY], project_id=3)
    assert _broken(_verdict(ledger=replace(_STATE, keys={_KEY: row}))) == {"I7"}
    event = replace(_LOG[2], value=_record("updated", 3, 2, organizationId=9).value)
    assert _broken(_verdict(log=(*_LOG[:2], event))) == {"I7"}
