"""The times at which keys can expire."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

TIME_FORMAT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?"
    r"([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)"
)
LONGEST: Final = timedelta(days=3653)


def parse_expiry(text: str, now: datetime) -> datetime:
    """Return the time of ``text``, which is ISO 8601 with a zone.

    Raises:
        ValueError: It is none, or not within the 10 years after ``now``; the text is a sentence that says what to do.
    """
    try:
        time = datetime.fromisoformat(text.upper()).astimezone(UTC) if TIME_FORMAT.fullmatch(text) else None
    except (ValueError, OverflowError):
        time = None
    if time is None:
        raise ValueError("Enter an ISO 8601 time with a time zone, such as 2030-01-31T12:00:00Z.")
    if time <= now:
        raise ValueError("Enter a time in the future.")
    if time - now > LONGEST:
        raise ValueError("Enter a time within the next 10 years.")
    return time
