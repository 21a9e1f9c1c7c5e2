"""Reads groups of settings from environment variables; all invalid values are reported at once."""

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar, cast

from environs import EnvValidationError, FileAwareEnv

_T = TypeVar("_T")


class SettingsError(Exception):
    """Settings are invalid; the message has a line for each of them, which starts with its name."""


@dataclass(frozen=True, slots=True)
class _Metadata:
    description: str
    check: Callable[[Any], object] | None
    is_secret: bool


def setting(
    default: _T, description: str, *, check: Callable[[_T], object] | None = None, secret: bool = False
) -> _T:
    """Declare a setting; the type of its default determines how its value is parsed.

    Args:
        default: The value if the environment variable is not set.
        description: The text of `projectkeys config` and docs/settings.md.
        check: Raises marshmallow's ValidationError if it receives an invalid value.
        secret: Whether the value is masked in output.
    """
    metadata = {"setting": _Metadata(description, check, secret)}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class SettingsGroup:
    """The base class of groups of settings; the environment variable of a field is its name in upper case."""


Group = TypeVar("Group", bound=SettingsGroup)


def read(group: type[Group]) -> Group:
    """Return a group of settings with the values of the environment.

    Raises:
        SettingsError: Some settings are invalid.
    """
    env = FileAwareEnv(eager=False, strip_whitespace=True)
    mistakes: dict[str, str] = {}
    values: dict[str, object] = {}
    for declared in fields(group):
        name = declared.name.upper()
        if os.environ.get(name) and os.environ.get(f"{name}_FILE"):
            mistakes[name] = f"Set either {name} or {name}_FILE, not both."
            continue
        try:
            values[declared.name] = _parse(env, name, declared)
        except ValueError as error:  # the file is unreadable
            mistakes[name] = str(error)
    try:
        env.seal()
    except EnvValidationError as error:
        by_name = cast("Mapping[str, list[str]]", error.error_messages)
        mistakes.update({name: " ".join(texts) for name, texts in by_name.items()})
    if mistakes:
        raise SettingsError("\n".join(f"{name}: {text}" for name, text in sorted(mistakes.items())))
    return replace(group(), **values)


def _parse(env: FileAwareEnv, name: str, declared: Field[Any]) -> object:
    check = _metadata(declared).check
    match declared.default:
        case bool(default):
            return env.bool(name, default, validate=check)
        case int(default):
            return env.int(name, default, validate=check)
        case float(default):
            return env.float(name, default, validate=check)
        case tuple(default):
            parts = env.list(name, list(default), validate=check) or ()  # None if it is invalid
            return tuple(part.strip() for part in parts)
        case str(default):
            return env.str(name, default, validate=check)
        case default:
            raise TypeError(f"{name}: settings of the type {type(default).__name__} are not supported")


def _metadata(declared: Field[Any]) -> _Metadata:
    metadata: _Metadata = declared.metadata["setting"]
    return metadata


def table(settings: SettingsGroup) -> list[tuple[str, str, str]]:
    """Return the name, value and description of every setting of a group; secrets are masked."""
    return [
        (declared.name.upper(), _value_text(declared, settings), _metadata(declared).description)
        for declared in fields(settings)
    ]


def _value_text(declared: Field[Any], settings: SettingsGroup) -> str:
    value = getattr(settings, declared.name)
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return "********" if _metadata(declared).is_secret and text else text
