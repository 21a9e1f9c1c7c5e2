"""Checks of the values in a file that is imported; they return values as the database stores them."""

import re
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from service.domain.errors import CommandError
from service.domain.events import time_to_json
from service.domain.model import KEY_HALF

MAX_ID: Final = 2**53 - 1
"""The largest id of a file. Ids continue after the largest one, so it must be far below the largest ``bigint``."""

_MAX_NAME_LENGTH: Final = 64
_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


class UnreadableFileError(CommandError):
    """The file cannot be read from ``line`` on: nothing of it is imported."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


class UnsuitableValueError(ValueError):
    """The value ``name`` does not fit into the database; ``requirement`` says what it must be."""

    def __init__(self, name: str, requirement: str) -> None:
        super().__init__(f"{name} {requirement}")


def check_id(name: str, value: object) -> int:
    """Return an id: a whole number, or its digits."""
    number = check_number(name, value, highest=MAX_ID)
    if not number:
        raise UnsuitableValueError(name, "must not be 0")
    return number


def check_number(name: str, value: object, *, highest: int) -> int:
    """Return a whole number from 0 to ``highest``, given as a number or as digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(highest)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
        raise UnsuitableValueError(name, f"must be a whole number of at most {highest}")
    return value


def check_key(name: str, value: object) -> str:
    """Return a public or secret key without the hyphens of a UUID."""
    text = value.replace("-", "") if isinstance(value, str) else ""
    if not KEY_HALF.fullmatch(text):
        raise UnsuitableValueError(name, "must be 32 lower-case hexadecimal digits")
    return text


def check_name(name: str, value: object) -> str:
    """Return a display name without surrounding white space."""
    text = value.strip() if isinstance(value, str) else ""
    if not 0 < len(text) <= _MAX_NAME_LENGTH:
        raise UnsuitableValueError(name, f"must be 1 to {_MAX_NAME_LENGTH} characters")
    if _NOT_STORABLE.search(text):
        raise UnsuitableValueError(name, "must not contain null or surrogate characters")
    return text


def check_slug(name: str, value: object, pattern: str) -> str:
    """Return a slug that matches ``pattern``."""
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise UnsuitableValueError(name, "must be a slug: letters, digits and hyphens, and not only digits")
    return value


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Return one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise UnsuitableValueError(name, f"must be one of {', '.join(sorted(choices))}")
    return value


def check_boolean(name: str, value: object) -> bool:
    """Return a boolean, given as such or as a word."""
    word = str(value).lower()
    if word not in _BOOLEANS:
        raise UnsuitableValueError(name, "must be true or false")
    return _BOOLEANS[word]


def check_time(name: str, value: object) -> str | None:
    """Return a time with a zone as the API formats it; None stays None."""
    if value is None:
        return None
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(str(value))
        if time.tzinfo is not None and 0 <= time.timestamp() <= _LATEST:
            return time_to_json(time)
    raise UnsuitableValueError(name, "must be an ISO 8601 time with a zone, from 1970 to 9998")
