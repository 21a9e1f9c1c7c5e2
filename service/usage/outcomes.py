"""Decodes outcomes, in Sentry's schema, and adds up their quantities."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from service.domain.model import MAX_BIGINT
from service.domain.usage import ERROR_CATEGORY, UNKNOWN_KEY, UsageCounter

_MAX_BYTES: Final = 16_384
"""A longer record is not decoded; outcomes have some hundred bytes."""

_MAX_CODE: Final = 255
"""Of categories and outcomes; Sentry's protocol has some thirty."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UsageBatch:
    """The quantities of the outcomes that one transaction adds to the stored ones.

    Attributes:
        quantities: The sums.
        counted: Number of records in the sums.
        malformed: Number of records that do not match the schema.
    """

    def __init__(self) -> None:
        self.quantities: Counter[UsageCounter] = Counter()
        self.counted = self.malformed = 0

    def add(self, values: Iterable[bytes | None], *, now: datetime) -> None:
        """Add the values of records; an outcome of the future counts in the hour of ``now``."""
        for value in values:
            try:
                counter, quantity = _decode(value, now)
            except (ValueError, TypeError, KeyError, OverflowError):
                self.malformed += 1
            else:
                self.counted += 1
                self.quantities[counter] += quantity


def _decode(value: bytes | None, now: datetime) -> tuple[UsageCounter, int]:
    """Return what an outcome counts, and its quantity.

    Raises:
        ValueError: It does not match the schema; TypeError, KeyError and OverflowError too.
    """
    if value is None or len(value) > _MAX_BYTES:
        raise ValueError
    outcome = orjson.loads(value)
    time = datetime.fromisoformat(outcome["timestamp"])
    time = min(now, time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    if time < _EPOCH:
        raise ValueError
    counter = UsageCounter(
        _number(outcome.get("key_id"), UNKNOWN_KEY, MAX_BIGINT),
        _number(outcome.get("category"), ERROR_CATEGORY, _MAX_CODE),
        time.replace(minute=0, second=0, microsecond=0),
        _number(outcome["outcome"], None, _MAX_CODE),
    )
    return counter, _number(outcome.get("quantity"), 1, 2**32)


def _number(value: Any, default: int | None, highest: int) -> int:
    number = default if value is None else value
    if type(number) is not int or not 0 <= number <= highest:
        raise ValueError
    return number
