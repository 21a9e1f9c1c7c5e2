"""Reads groups of settings from environment variables; all invalid values are reported at once."""

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from marshmallow import ValidationError
from marshmallow.fields import Boolean, Float, Integer

_T = TypeVar("_T")

_QUOTES: Final = ("'", '"')

_BOOLEAN: Final = Boolean(error_messages={"invalid": "'{input}' is not a boolean; use true or false."})
_INTEGER: Final = Integer(error_messages={"invalid": "'{input}' is not a whole number; use digits alone."})
_FLOAT: Final = Float(error_messages={"invalid": "'{input}' is not a number; use digits without a unit."})


class SettingsError(Exception):
    """Settings are invalid; the message has a line for each of them, which starts with its name."""


def setting(
    default: _T, description: str, *, check: Callable[[_T], _T] = lambda value: value, secret: bool = False
) -> _T:
    """Declare a setting; the type of its default determines how its value is parsed.

    Args:
        default: The value if the environment variable is not set or empty.
        description: The text of `projectkeys config` and docs/settings.md.
        check: Returns a valid value in its usual form; raises marshmallow's ValidationError for another one. It also
            receives an empty list if the variable of a list is set and empty.
        secret: Whether the value is masked in output.
    """
    metadata = {"description": description, "check": check, "is_secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class SettingsGroup:
    """The base class of groups of settings; the environment variable of a field is its name in upper case."""

    def mistakes(self) -> dict[str, str]:
        """Return the values that contradict each other: an error for each name."""
        return {}


Group = TypeVar("Group", bound=SettingsGroup)


def read(group: type[Group]) -> Group:
    """Return a group of settings with the values of the environment.

    Raises:
        SettingsError: Some settings are invalid.
    """
    mistakes: dict[str, str] = {}
    values: dict[str, object] = {}
    for declared in fields(group):
        name = declared.name.upper()
        text = None
        try:
            text = _text(name)
            if text or (text is not None and isinstance(declared.default, tuple)):
                values[declared.name] = declared.metadata["check"](_parse(text, declared.default))
        except ValidationError as error:
            hint = " Remove the quotes." if text and text.startswith(_QUOTES) else ""
            mistakes[name] = " ".join(map(str, error.messages)) + hint
    settings = replace(group(), **values)
    if mistakes := mistakes or settings.mistakes():
        raise SettingsError("\n".join(f"{name}: {text}" for name, text in sorted(mistakes.items())))
    return settings


def reread(settings: Group) -> Group:
    """Return ``settings`` with the present contents of the files from which texts were read.

    An empty file is being rewritten and changes nothing.

    Raises:
        SettingsError: A file cannot be read or has an invalid value.
    """
    values: dict[str, object] = {}
    for declared in fields(settings):
        name = declared.name.upper()
        if isinstance(declared.default, str) and os.environ.get(f"{name}_FILE"):
            try:
                if text := _text(name):
                    values[declared.name] = declared.metadata["check"](text)
            except ValidationError as error:
                raise SettingsError(f"{name}: {error.messages[0]}") from None
    return replace(settings, **values)


def _text(name: str) -> str | None:
    """Return the value of a variable, or the content of the file that NAME_FILE names; None if neither is set."""
    text, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not file:
        return None if text is None else text.strip()
    if text:
        raise ValidationError(f"Set either {name} or {name}_FILE, not both.")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValidationError(f"{name}_FILE must name a readable file: {file!r}: {reason}.") from None


def _parse(text: str, default: object) -> object:
    match default:
        case bool():
            return _BOOLEAN.deserialize(text.lower())
        case int():
            return _INTEGER.deserialize(text)
        case float():
            return _FLOAT.deserialize(text)
        case tuple():
            return tuple(part for each in text.split(",") if (part := each.strip()))
        case str():
            return text
        case _:
            raise TypeError(f"settings of the type {type(default).__name__} are not supported")


def table(settings: SettingsGroup) -> list[tuple[str, str, str]]:
    """Return the name, value and description of every setting of a group; secrets are masked."""
    return [
        (
            name,
            "********" if declared.metadata["is_secret"] and text else text,
            declared.metadata["description"],
        )
        for name, text, declared in _texts(settings)
    ]


def changed(settings: SettingsGroup) -> Mapping[str, str]:
    """Return the environment variables that lead to ``settings``, secrets included."""
    return {
        name: text
        for name, text, declared in _texts(settings)
        if getattr(settings, declared.name) != declared.default
    }


def _texts(settings: SettingsGroup) -> list[tuple[str, str, Field[Any]]]:
    values = [(declared, getattr(settings, declared.name)) for declared in fields(settings)]
    return [
        (declared.name.upper(), ",".join(value) if isinstance(value, tuple) else str(value), declared)
        for declared, value in values
    ]
