"""Parts of the consumer kit that need no broker: read progress, the table, and agreement with the service."""

import inspect
import itertools
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

import projectkeys_consumer
from projectkeys_consumer import ProjectKeys, table
from projectkeys_consumer.errors import MalformedRecordError
from projectkeys_consumer.read_progress import ReadProgress
from projectkeys_consumer.records import KeyUpdate, parse_record
from projectkeys_consumer.state import USUAL_VALUE, check_value, decode_state
from projectkeys_consumer.table import KeyTable
from service.domain import model
from tests.topic_writer import records_of

_A, _B = b"a" * 16, b"b" * 16
_VALUE = json.dumps(json.loads(records_of("a" * 32, 7)[0].value or b""), separators=(",", ":"))
_TOKENS = re.findall(r'"[^"]*"|\w+|.', _VALUE)


def _begun(*, ends: dict[int, int], now: float) -> ReadProgress:
    progress = ReadProgress()
    progress.begin(dict.fromkeys(ends, 0), ends, now=now)
    return progress


def test_reading_is_complete_when_every_partition_has_reached_its_target() -> None:
    """One partition that has not is enough to wait; later ends do not count."""
    progress = _begun(ends={0: 2, 1: 1}, now=10.0)
    assert not progress.advance({0: 2, 1: 0}, {0: 9, 1: 9}, responded_at=11.0)
    assert progress.unread_records == 16
    assert progress.advance({0: 2, 1: 1}, {0: 9, 1: 9}, responded_at=12.0)
    assert progress.complete_as_of == 10.0


def test_the_target_advances_while_records_arrive_continuously() -> None:
    """The reader never reaches the end, but the time as of which it is complete advances with the clock."""
    progress = _begun(ends={0: 1}, now=10.0)
    times = []
    for second in range(1, 6):
        assert progress.advance({0: second * 5}, {0: second * 5 + 1}, responded_at=10.0 + second)
        times.append(progress.complete_as_of)
    assert times == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_an_idle_topic_is_complete_as_of_the_last_response() -> None:
    """The positions have reached the reported ends already."""
    progress = _begun(ends={0: 1}, now=10.0)
    assert progress.advance({0: 1}, {0: 1}, responded_at=15.0)
    assert (progress.complete_as_of, progress.unread_records) == (15.0, 0)
    assert progress.advance({0: 1}, {0: 1}, responded_at=None)
    assert progress.complete_as_of == 15.0


def test_idle_seconds_are_those_of_the_partition_without_records_for_longest() -> None:
    """None while a partition has had no record; a record with an older timestamp changes nothing."""
    progress = _begun(ends={0: 1, 1: 1}, now=10.0)
    progress.add_record(0, 20.0)
    assert progress.idle_seconds(30.0) is None
    progress.add_record(1, 25.0)
    progress.add_record(1, 5.0)
    assert progress.idle_seconds(30.0) == 10.0


def test_a_limited_number_of_deleted_versions_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest deletions; a key that is deleted again counts as the latest."""
    monkeypatch.setattr(table, "MAX_DELETED", 2)
    keys = KeyTable()
    for key, version in ((_A, 1), (_B, 1), (_A, 2), (b"c" * 16, 1)):
        assert keys.apply(KeyUpdate(key, version, None))
    assert [keys.version(key) for key in (_A, _B)] == [2, 0]
    assert not keys.apply(KeyUpdate(_A, 1, b"late"))


def test_a_rebuilt_table_shares_equal_values() -> None:
    """Reading the topic again does not need twice the memory."""
    old = KeyTable()
    old.apply(KeyUpdate(_A, 1, b"state"))
    old.apply(KeyUpdate(_B, 1, b"state"))
    new = KeyTable(shared_with=old)
    new.apply(KeyUpdate(_A, 1, b"state"))
    assert new.states[_A] is old.states[_A]
    new.release_shared()
    assert list(new.differences(old)) == [_B]
    assert list(old.differences(new)) == [_B]


def test_an_unknown_argument_raises_an_error() -> None:
    """Aiokafka would report it only as a failed connection, which is retried."""
    with pytest.raises(TypeError, match="unknown options: snapshot_every"):
        ProjectKeys(bootstrap_servers="localhost:9092", snapshot_every=1.0)  # type: ignore[call-arg]  # -- the test


@pytest.mark.parametrize("name", ["RateLimit", "LoaderOptions"])
def test_the_values_of_the_kit_and_of_the_service_agree(name: str) -> None:
    """The kit has its own definitions, because it does not import the service."""
    in_kit, in_service = (
        list(inspect.signature(getattr(module, name)).parameters.values()) for module in (projectkeys_consumer, model)
    )
    assert in_kit == in_service


def _version_and_key(value: bytes) -> Any:
    """Return what `check_value` must return; None if the value cannot be decoded."""
    try:
        state = decode_state(value)
    except MalformedRecordError:
        return None
    return state.public_key.encode(), state.version


def test_a_value_is_accepted_exactly_if_it_can_be_decoded() -> None:
    """Also one in the usual form, which is not parsed; each token of an example is replaced by each other one."""
    assert USUAL_VALUE.fullmatch(_VALUE.encode())
    others = [
        "",
        "0",
        "01",
        "-1",
        "1.0",
        "9" * 18,
        "9" * 20,
        '"\\"',
        '"é"',
        '"\\ud800"',
        "\x00",
        "\n",
        "[]",
        "\ud800",
    ]
    accepted = set()
    for place, token in itertools.product(range(len(_TOKENS)), sorted({*_TOKENS, *others})):
        value = "".join([*_TOKENS[:place], token, *_TOKENS[place + 1 :]]).encode(errors="surrogatepass")
        try:
            found = check_value(value)
        except MalformedRecordError:
            assert _version_and_key(value) is None, value
        else:
            assert found == _version_and_key(value), value
            accepted.add(USUAL_VALUE.fullmatch(value) is not None)
    assert accepted == {True, False}


@pytest.mark.parametrize("time", ["2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00.5Z", "", "-Z", "T"])
def test_the_time_of_a_value_in_the_usual_form_is_checked(time: str) -> None:
    """Otherwise looking the key up would raise an error."""
    value = re.sub('(?<="dateCreated":")[^"]*', time, _VALUE).encode()
    try:
        assert check_value(value) == _version_and_key(value)
    except MalformedRecordError:
        assert _version_and_key(value) is None


@pytest.mark.parametrize(("name", "version"), [("ce_type", None), ("ce_dataschema", 7)])
def test_a_header_without_a_value_is_like_an_absent_one(name: str, version: int | None) -> None:
    """Kafka allows null; reading continues."""
    headers = {"ce_type": b"projectkey.updated", "ce_dataschema": b"urn:a:1"} | {name: None}
    record = SimpleNamespace(key=b"a" * 32, value=_VALUE.encode(), headers=tuple(headers.items()))
    update = parse_record(record)
    assert (update and update.version) == version
