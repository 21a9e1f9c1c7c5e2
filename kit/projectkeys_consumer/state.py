"""The state of a key, and how it is decoded from a record's value."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from projectkeys_consumer.errors import MalformedRecordError

_PUBLIC_KEY: Final = re.compile(r"[0-9a-f]{32}")
_MAX_VERSION: Final = 2**63 - 1
_Type = TypeVar("_Type")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``count`` events in each ``window`` of seconds."""

    window: int
    count: int


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """The switches of the browser loader."""

    has_replay: bool = True
    has_performance: bool = True
    has_debug: bool = False
    has_feedback: bool = False
    has_logs_and_metrics: bool = False


@dataclass(frozen=True, slots=True)
class KeyState:
    """The complete state of a key in one version.

    If ``is_active`` is False, events sent with this key are to be rejected. ``dsn`` is the public DSN. A
    ``rate_limit`` of None means no limit. ``browser_sdk_version`` and ``loader_options`` are for the browser loader.
    ``key_id`` is the number of the key; None if the event is of a release that did not publish it. After
    ``expires_at`` the key is disabled; None means never.
    """

    public_key: str
    version: int
    organization_id: int
    project_id: int
    name: str
    is_active: bool
    rate_limit: RateLimit | None
    dsn: str
    browser_sdk_version: str
    loader_options: LoaderOptions
    created_at: datetime
    key_id: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The current state of a changed key; ``state`` is None if it does not exist. ``version`` is 0 if unknown."""

    public_key: str
    version: int
    state: KeyState | None


def pack_key(public_key: str) -> bytes | None:
    """Return a public key as 16 bytes; None if it is not 32 lower-case hex digits."""
    return bytes.fromhex(public_key) if _PUBLIC_KEY.fullmatch(public_key) else None


def decode_state(value: bytes) -> KeyState:
    """Decode the value of a record; unknown members are ignored, because later releases may add some.

    Raises:
        MalformedRecordError: the value does not match the schema.
    """
    try:
        return _parse_state(json.loads(value.decode()))
    except KeyError as error:
        raise MalformedRecordError(f"the value has no member {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedRecordError(str(error)) from None


def _parse_state(members: dict[str, Any]) -> KeyState:
    public_key, version = _typed(str, members["id"]), _typed(int, members["version"])
    if not _PUBLIC_KEY.fullmatch(public_key) or not 0 < version <= _MAX_VERSION:
        raise ValueError("id or version is out of range")
    limit = members["rateLimit"]
    return KeyState(
        public_key=public_key,
        version=version,
        organization_id=_typed(int, members["organizationId"]),
        project_id=_typed(int, members["projectId"]),
        name=_typed(str, members["name"]),
        is_active=_typed(bool, members["isActive"]),
        rate_limit=None if limit is None else RateLimit(_typed(int, limit["window"]), _typed(int, limit["count"])),
        dsn=_typed(str, members["dsn"]["public"]),
        browser_sdk_version=_typed(str, members["browserSdkVersion"]),
        loader_options=_parse_loader_options(members["dynamicSdkLoaderOptions"]),
        created_at=datetime.fromisoformat(members["dateCreated"]),
        key_id=_optional(int, members.get("keyId")),
        expires_at=_parse_time(_optional(str, members.get("expiresAt"))),
    )


def _parse_loader_options(members: dict[str, Any]) -> LoaderOptions:
    return LoaderOptions(
        has_replay=_typed(bool, members["hasReplay"]),
        has_performance=_typed(bool, members["hasPerformance"]),
        has_debug=_typed(bool, members["hasDebug"]),
        has_feedback=_typed(bool, members["hasFeedback"]),
        has_logs_and_metrics=_typed(bool, members["hasLogsAndMetrics"]),
    )


def _parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r:.40} has no time zone")
    return time


def _optional(expected: type[_Type], value: Any) -> _Type | None:
    return None if value is None else _typed(expected, value)


def _typed(expected: type[_Type], value: Any) -> _Type:
    """Return the value if it has exactly the expected type; `isinstance` would accept True as an int."""
    if type(value) is not expected:
        raise TypeError(f"{value!r:.40} is not of type {expected.__name__}")
    return value
