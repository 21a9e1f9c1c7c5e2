"""Which records of the topic of outcomes count, and where."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from sentry_kafka_schemas import iter_examples

from service.domain.usage import UsageCounter
from service.usage.outcomes import UsageBatch
from tests.outcomes import TIME, outcome

_NOW = TIME + timedelta(hours=1)
_HOUR = datetime(2026, 11, 24, 4, tzinfo=UTC)


def _added(*values: bytes | None) -> UsageBatch:
    batch = UsageBatch()
    batch.add(values, now=_NOW)
    return batch


def test_the_examples_of_sentrys_schema_are_counted() -> None:
    """Also those without a key, a category or a quantity, and with nulls."""
    values = [orjson.dumps(example.load()) for example in iter_examples("outcomes")]
    assert len(values) > 3
    assert (_added(*values).counted, _added(*values).malformed) == (len(values), 0)


def test_quantities_are_added_by_key_category_hour_and_outcome() -> None:
    """Each record has a quantity of its own."""
    batch = _added(outcome(7), outcome(7, quantity=5), outcome(7, outcome=2), outcome(7, category=2), outcome(8))
    assert batch.quantities == {
        UsageCounter(7, 1, _HOUR, 0): 6,
        UsageCounter(7, 1, _HOUR, 2): 1,
        UsageCounter(7, 2, _HOUR, 0): 1,
        UsageCounter(8, 1, _HOUR, 0): 1,
    }


def test_absent_and_null_members_have_the_values_that_sentry_uses() -> None:
    """No key, an error, one event."""
    expected = {UsageCounter(0, 1, _HOUR, 4): 1}
    assert _added(outcome(None, outcome=4, category=None, quantity=None)).quantities == expected
    bare = orjson.dumps({"timestamp": TIME.isoformat(), "outcome": 4})
    assert _added(bare).quantities == expected


@pytest.mark.parametrize(
    ("timestamp", "hour"),
    [
        ("2026-11-24T04:59:59.999999999Z", _HOUR),
        ("2026-11-24T04:00:00", _HOUR),
        ("2026-11-24T06:30:00+02:00", _HOUR),
        ("2026-11-24T00:15:00-05:30", _HOUR + timedelta(hours=1)),
        ("2025-01-01T00:00:00Z", datetime(2025, 1, 1, tzinfo=UTC)),
        ("2027-01-01T00:00:00Z", _NOW.replace(minute=0, second=0)),
        ("9999-12-31T23:59:59-23:59", _NOW.replace(minute=0, second=0)),
    ],
)
def test_an_outcome_counts_in_the_hour_of_its_timestamp(timestamp: str, hour: datetime) -> None:
    """Also a late one; one of the future, by a wrong clock, counts in the current hour."""
    assert list(_added(outcome(7, timestamp=timestamp)).quantities) == [UsageCounter(7, 1, hour, 0)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"timestamp"',
        b"{}",
        b"[" * 5_000,
        orjson.dumps({"timestamp": TIME.isoformat()}),
        orjson.dumps({"outcome": 0}),
        outcome(7, timestamp="yesterday"),
        outcome(7, timestamp=""),
        outcome(7, timestamp="0001-01-01T00:00:00+10:00"),
        outcome(7, timestamp="1969-12-31T23:59:59Z"),
        outcome(-1),
        outcome(2**63),
        outcome(7, outcome=-1),
        outcome(7, outcome=256),
        outcome(7, category=256),
        outcome(7, quantity=-1),
        outcome(7, quantity=2**32 + 1),
        outcome(7, reason="x" * 20_000),
        outcome(7).replace(b'"outcome":0', b'"outcome":true'),
        outcome(7).replace(b'"outcome":0', b'"outcome":null'),
        outcome(7).replace(b'"outcome":0', b'"outcome":"0"'),
        outcome(7).replace(b'"quantity":1', b'"quantity":1.5'),
        outcome(7).replace(b'"timestamp":"', b'"timestamp":"\xed\xa0\x80'),
        outcome(7).replace(b'"key_id":7', b'"key_id":' + b"9" * 5_000),
        outcome(7).replace(b'"key_id":7', b'"key_id":[7]'),
    ],
    ids=lambda value: None if value is None else ascii(value[:60]),
)
def test_a_malformed_record_is_skipped(value: bytes | None) -> None:
    """The records beside it count."""
    batch = _added(outcome(7), value, outcome(7))
    assert (batch.counted, batch.malformed) == (2, 1)
    assert list(batch.quantities.values()) == [2]
