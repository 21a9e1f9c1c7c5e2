"""Values of usage: how many events of a key were accepted, filtered and dropped in each hour."""

from datetime import datetime
from enum import IntEnum
from typing import Final, NamedTuple

HOUR: Final = 3600
DAY: Final = 86_400
"""Seconds; the resolutions of statistics."""


class OutcomeKind(IntEnum):
    """The outcomes of events that statistics contain."""

    ACCEPTED = 0
    FILTERED = 1
    RATE_LIMITED = 2


ERROR_CATEGORY: Final = 1
"""The data category of errors, which statistics contain; also that of an outcome without a category."""

UNKNOWN_KEY: Final = 0
"""Counts outcomes without a key, and of keys that do not exist."""


class UsageCounter(NamedTuple):
    """What one quantity counts; ``hour`` is the start of an hour in UTC."""

    key_id: int
    category: int
    hour: datetime
    outcome: int
