"""Fields that convert JSON values as Sentry's API does, with its error messages."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

from marshmallow import ValidationError, fields
from typing_extensions import override

from service.domain.dsn import is_base_url
from service.domain.model import KEY_HALF

Value = TypeVar("Value")

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})
_ZERO_FRACTION: Final = re.compile(r"\.0*\s*$")
_MAX_NUMBER_LENGTH: Final = 1000
_MIN_OVERFLOW: Final = 2.0**63
"""orjson parses an integer that does not fit 64 bits as a float; its absolute value is at least this."""

_MAX_QUOTED_LENGTH: Final = 100


def type_name(value: object) -> str:
    """Return the Python name of the type of a JSON value, as in the messages of Sentry's API."""
    return type(value).__name__


def quoted(value: object) -> str:
    """Return at most 100 characters of ``value`` in double quotes, for an error message."""
    text = str(value)
    return f'"{text}"' if len(text) <= _MAX_QUOTED_LENGTH else f'"{text[:_MAX_QUOTED_LENGTH]}…"'


def character_errors(text: str) -> list[str]:
    """Return a message for each kind of character in ``text`` that PostgreSQL cannot store."""
    errors = []
    if "\x00" in text:
        errors.append("Null characters are not allowed.")
    surrogate = next((char for char in text if "\ud800" <= char <= "\udfff"), None)
    if surrogate is not None:
        errors.append(f"Surrogate characters are not allowed: U+{ord(surrogate):X}.")
    return errors


class JsonField(fields.Field[Value]):
    """A field that converts a JSON value with `convert`; a field that accepts null converts it to None."""

    default_error_messages = {"null": "This field may not be null.", "required": "This field is required."}
    accepts_null: ClassVar[bool] = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_none": self.accepts_null, **options})

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Value:
        del attr, data, kwargs
        return self.convert(value)

    @abstractmethod
    def convert(self, value: Any) -> Value:
        """Return the converted value; raise `ValidationError` if ``value`` is not valid."""


class Text(JsonField[str | None]):
    """Text without leading and trailing spaces; a number becomes text, blank text and null become None.

    Args:
        max_length: Characters after trimming.
        **options: The options of every field.
    """

    default_error_messages = {"invalid": "Not a valid string."}
    accepts_null = True

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(**options)
        self.max_length = max_length

    @override
    def convert(self, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.make_error("invalid")
        text = str(value).strip()
        errors = [] if text.isprintable() else character_errors(text)  # the printable characters can be stored
        if len(text) > self.max_length:
            errors.insert(0, f"Ensure this field has no more than {self.max_length} characters.")
        if errors:
            raise ValidationError(errors)
        return text or None


class RequiredText(Text):
    """Text that must be present and not blank."""

    default_error_messages = {"blank": "This field may not be blank."}
    accepts_null = False

    def __init__(self, *, max_length: int) -> None:
        super().__init__(max_length=max_length, required=True)

    @override
    def convert(self, value: Any) -> str | None:
        text = super().convert(value)
        if text is None:
            raise self.make_error("blank")
        return text


class Slug(JsonField[str]):
    """A slug of an organization or a project; it contains more than digits, to differ from an id.

    Args:
        pattern: The regular expression that the whole text must match.
        **options: The options of every field.
    """

    default_error_messages = {
        "invalid": "Enter a valid slug consisting of lowercase letters, numbers, underscores or hyphens. "
        "It cannot be entirely numeric."
    }

    def __init__(self, *, pattern: str, **options: Any) -> None:
        super().__init__(**options)
        self.pattern = re.compile(pattern)

    @override
    def convert(self, value: Any) -> str:
        if not isinstance(value, str) or not self.pattern.fullmatch(value):
            raise self.make_error("invalid")
        return value


class BaseUrl(JsonField[str | None]):
    """An http or https URL without a query and without a trailing slash; null and "" become None."""

    default_error_messages = {"invalid": "Enter a valid http or https URL without a slash at its end."}
    accepts_null = True

    @override
    def convert(self, value: Any) -> str | None:
        if value == "":
            return None
        if not isinstance(value, str) or not is_base_url(value):
            raise self.make_error("invalid")
        return value


class Hex32(JsonField[str | None]):
    """A public or secret key: 32 lower-case hexadecimal digits; null becomes None."""

    default_error_messages = {
        "invalid": "This value does not match the required pattern. The pattern is ^[a-f0-9]{32}$."
    }
    accepts_null = True

    @override
    def convert(self, value: Any) -> str | None:
        invalid = self.error_messages["invalid"]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValidationError(invalid)  # `make_error` would format the braces of the pattern
        text = str(value).strip()
        if not text:
            raise ValidationError("This field may not be blank.")
        if not KEY_HALF.fullmatch(text):
            raise ValidationError([*character_errors(text), invalid])
        return text


class OptionalInteger(JsonField[int | None]):
    """A non-negative integer, as a number or as text; "" and null become None.

    Args:
        maximum: The largest accepted value.
        **options: The options of every field.
    """

    default_error_messages = {"invalid": "A valid integer is required."}
    accepts_null = True

    def __init__(self, *, maximum: int, **options: Any) -> None:
        super().__init__(**options)
        self.maximum = maximum

    @override
    def convert(self, value: Any) -> int | None:
        if value == "":
            return None
        if isinstance(value, str) and len(value) > _MAX_NUMBER_LENGTH:
            raise ValidationError("String value too large.")
        number = self._number(value)
        if number < 0:
            raise ValidationError("Ensure this value is greater than or equal to 0.")
        if number > self.maximum:
            raise ValidationError(f"Ensure this value is less than or equal to {self.maximum}.")
        return number

    def _number(self, value: Any) -> int:
        if isinstance(value, float) and abs(value) >= _MIN_OVERFLOW and value.is_integer():
            return int(value)
        try:
            return int(_ZERO_FRACTION.sub("", str(value)))
        except ValueError:
            raise self.make_error("invalid") from None


class Choice(JsonField[str]):
    """One of a set of texts.

    Args:
        choices: The accepted texts.
        **options: The options of every field.
    """

    def __init__(self, *, choices: frozenset[str], **options: Any) -> None:
        super().__init__(**options)
        self.choices = choices

    @override
    def convert(self, value: Any) -> str:
        if isinstance(value, str) and value in self.choices:
            return value
        raise ValidationError(f"{quoted(value)} is not a valid choice.")


class LenientBoolean(JsonField[bool]):
    """A boolean, or a number or word that Sentry's API accepts as a boolean."""

    default_error_messages = {"invalid": "Must be a valid boolean."}
    WORDS: Final = _TRUE | _FALSE

    @override
    def convert(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        word = str(int(value)) if isinstance(value, float) and value in {0.0, 1.0} else str(value).lower()
        if isinstance(value, str | int | float) and word in self.WORDS:
            return word in _TRUE
        raise self.make_error("invalid")
