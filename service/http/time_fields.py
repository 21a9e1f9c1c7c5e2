"""Fields of durations and of times in the future."""

from datetime import datetime
from typing import Any

from marshmallow import ValidationError
from typing_extensions import override

from service.concurrency.database_clock import DATABASE_CLOCK
from service.domain.expiry import parse_expiry
from service.http.fields import JsonField, OptionalInteger


class Seconds(OptionalInteger):
    """A duration in seconds, which must not be empty."""

    accepts_null = False

    @override
    def convert(self, value: Any) -> int | None:
        if value == "":
            raise self.make_error("invalid")
        return super().convert(value)


class ExpiryTime(JsonField[datetime | None]):
    """A future time with a zone, by the clock of the database; null becomes None, which is no expiry."""

    accepts_null = True

    @override
    def convert(self, value: Any) -> datetime | None:
        try:
            return parse_expiry(value if isinstance(value, str) else "", DATABASE_CLOCK.now())
        except ValueError as error:
            raise ValidationError(str(error)) from None
