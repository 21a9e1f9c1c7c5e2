"""Fields of durations and of times in the future."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from typing_extensions import override

from service.concurrency.database_clock import DATABASE_CLOCK
from service.http.fields import NULL, JsonField, OptionalInteger


class Seconds(OptionalInteger):
    """A duration in seconds, which must not be empty."""

    default_error_messages = {"null": NULL}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.allow_none = False

    @override
    def convert(self, value: Any) -> int | None:
        if value == "":
            raise self.make_error("invalid")
        return super().convert(value)


class ExpiryTime(JsonField[datetime | None]):
    """A future time with a zone, by the clock of the database; null becomes None, which is no expiry."""

    default_error_messages = {
        "invalid": "Enter an ISO 8601 time with a time zone, such as 2030-01-31T12:00:00Z.",
        "past": "Enter a time in the future.",
        "far": "Enter a time within the next 10 years.",
    }
    FORMAT: Final = re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?"
        r"([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)"
    )
    LONGEST: Final = timedelta(days=3653)

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, **options)

    @override
    def convert(self, value: Any) -> datetime | None:
        if not isinstance(value, str) or not self.FORMAT.fullmatch(value):
            raise self.make_error("invalid")
        try:
            time = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.make_error("invalid") from None
        left = time - DATABASE_CLOCK.now()
        if left <= timedelta() or left > self.LONGEST:
            raise self.make_error("far" if left > self.LONGEST else "past")
        return time
