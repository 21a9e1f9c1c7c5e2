"""Fields that read values as the API's clients have learned to expect, with its words for what is wrong."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from marshmallow import ValidationError, fields
from typing_extensions import override

from service.domain.dsn import is_base_url

Words: TypeAlias = dict[str, str | list[Any] | dict[Any, Any]]
"""What is said for each kind of mistake."""

_NULL: Final = "This field may not be null."
_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})
_ZERO_FRACTION: Final = re.compile(r"\.0*\s*$")
_LONGEST_NUMBER: Final = 1000
_EXACT_FLOATS: Final = 2.0**63

MESSAGES: Final[Words] = {
    "null": _NULL,
    "required": "This field is required.",
    "invalid": "Not a valid string.",
}


def kind_of(value: object) -> str:
    """The name of a JSON value's kind as messages give it."""
    return type(value).__name__


class Text(fields.Field[str | None]):
    """A text, trimmed; numbers become text; blank and null are None.

    Args:
        longest: characters after trimming.
        **options: as for every field.
    """

    default_error_messages = MESSAGES

    def __init__(self, *, longest: int, **options: Any) -> None:
        super().__init__(allow_none=True, **options)
        self.longest = longest

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str | None:
        del attr, data, kwargs
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.make_error("invalid")
        text = str(value).strip()
        if mistakes := [*self._too_long(text), *unfit_characters(text)]:
            raise ValidationError(mistakes)
        return text or None

    def _too_long(self, text: str) -> list[str]:
        if len(text) <= self.longest:
            return []
        return [f"Ensure this field has no more than {self.longest} characters."]


def unfit_characters(text: str) -> list[str]:
    """What no text column can hold."""
    mistakes = []
    if "\x00" in text:
        mistakes.append("Null characters are not allowed.")
    surrogate = next((one for one in text if "\ud800" <= one <= "\udfff"), None)
    if surrogate is not None:
        mistakes.append(f"Surrogate characters are not allowed: U+{ord(surrogate):X}.")
    return mistakes


class Name(Text):
    """A text that must be there and say something."""

    default_error_messages = {**MESSAGES, "blank": "This field may not be blank."}

    def __init__(self, *, longest: int) -> None:
        super().__init__(longest=longest, required=True)
        self.allow_none = False

    @override
    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str | None:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is None:
            raise self.make_error("blank")
        return text


class Slug(fields.Field[str]):
    """What stands for a thing in a path; never digits alone, for those are an id.

    Args:
        pattern: what it must match as a whole.
        **options: as for every field.
    """

    default_error_messages = {
        **MESSAGES,
        "invalid": "Enter a valid slug consisting of lowercase letters, numbers, underscores or hyphens. "
        "It cannot be entirely numeric.",
    }

    def __init__(self, *, pattern: str, **options: Any) -> None:
        super().__init__(**options)
        self.pattern = re.compile(pattern)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        del attr, data, kwargs
        if not isinstance(value, str) or not self.pattern.fullmatch(value):
            raise self.make_error("invalid")
        return value


class BaseUrl(fields.Field[str | None]):
    """An http or https URL without a query and without a slash at its end; null and "" are None."""

    default_error_messages = {"invalid": "Enter a valid http or https URL without a slash at its end."}

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, **options)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str | None:
        del attr, data, kwargs
        if value == "":
            return None
        if not isinstance(value, str) or not is_base_url(value):
            raise self.make_error("invalid")
        return value


class Hex32(fields.Field[str | None]):
    """Half a key: 32 lower-case hex digits; null is None."""

    default_error_messages = {
        "null": _NULL,
        "invalid": "This value does not match the required pattern.",
    }
    PATTERN: Final = re.compile(r"[a-f0-9]{32}")

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, **options)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str | None:
        del attr, data, kwargs
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.make_error("invalid")
        text = str(value).strip()
        if not text:
            raise ValidationError("This field may not be blank.")
        if not self.PATTERN.fullmatch(text):
            raise ValidationError([*unfit_characters(text), self.error_messages["invalid"]])
        return text


class EmptyOrInteger(fields.Field[int | None]):
    """A whole number, perhaps written as text; "" and null are None.

    Args:
        greatest: the largest that is accepted; the least is 0.
        **options: as for every field.
    """

    default_error_messages = {
        "required": "This field is required.",
        "invalid": "A valid integer is required.",
    }

    def __init__(self, *, greatest: int, **options: Any) -> None:
        super().__init__(allow_none=True, **options)
        self.greatest = greatest

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int | None:
        del attr, data, kwargs
        if value == "":
            return None
        if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
            raise ValidationError("String value too large.")
        number = self._number(value)
        if number < 0:
            raise ValidationError("Ensure this value is greater than or equal to 0.")
        if number > self.greatest:
            raise ValidationError(f"Ensure this value is less than or equal to {self.greatest}.")
        return number

    def _number(self, value: Any) -> int:
        if isinstance(value, float) and abs(value) >= _EXACT_FLOATS and value.is_integer():
            return int(value)  # a whole number beyond 64 bits reaches us as a float
        try:
            return int(_ZERO_FRACTION.sub("", str(value)))
        except ValueError:
            raise self.make_error("invalid") from None


class Choice(fields.Field[str]):
    """One of some texts.

    Args:
        choices: those.
        **options: as for every field.
    """

    default_error_messages = {"null": _NULL}

    def __init__(self, *, choices: frozenset[str], **options: Any) -> None:
        super().__init__(**options)
        self.choices = choices

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        del attr, data, kwargs
        if isinstance(value, str) and value in self.choices:
            return value
        raise ValidationError(f'"{value}" is not a valid choice.')


class Switch(fields.Field[bool]):
    """True or false in any of the words for them."""

    default_error_messages = {"null": _NULL, "invalid": "Must be a valid boolean."}
    WORDS: Final = _TRUE | _FALSE

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        del attr, data, kwargs
        if isinstance(value, bool):
            return value
        word = str(int(value)) if isinstance(value, float) and value in {0.0, 1.0} else str(value).lower()
        if isinstance(value, str | int | float) and word in self.WORDS:
            return word in _TRUE
        raise self.make_error("invalid")
