"""Fields of durations and of times in the future."""

from datetime import datetime
from typing import Any

from marshmallow import ValidationError
from typing_extensions import override

from service.concurrency.database_clock import DATABASE_CLOCK
from service.domain.expiry import parse_expiry
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

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, **options)

    @override
    def convert(self, value: Any) -> datetime | None:
        try:
            return parse_expiry(value if isinstance(value, str) else "", DATABASE_CLOCK.now())
        except ValueError as error:
            raise ValidationError(str(error)) from None
