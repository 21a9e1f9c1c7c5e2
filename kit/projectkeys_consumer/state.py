"""The state of a key, and how it is decoded from a record's value."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from projectkeys_consumer.errors import MalformedRecordError

_PUBLIC_KEY: Final = re.compile(r"[0-9a-f]{32}")
_MAX_VERSION: Final = 2**63 - 1
_MEMBERS: Final[dict[str, type]] = {
    "id": str,
    "version": int,
    "organizationId": int,
    "projectId": int,
    "name": str,
    "isActive": bool,
    "browserSdkVersion": str,
    "dateCreated": str,
}
"""The types of the members that every state has; those of others follow."""

_DSN: Final[dict[str, type]] = {"public": str}
_RATE_LIMIT: Final[dict[str, type]] = {"window": int, "count": int}
_KEY_ID: Final[dict[str, type]] = {"keyId": int}
_LOADER_OPTIONS: Final[dict[str, type]] = dict.fromkeys(
    ("hasReplay", "hasPerformance", "hasDebug", "hasFeedback", "hasLogsAndMetrics"), bool
)
USUAL_VALUE: Final = re.compile(
    (
        r'\{"keyId":<number>,"id":"([0-9a-f]{32})","version":(<number>),"organizationId":<number>,"projectId":<number>,'
        r'"name":<text>,"isActive":<switch>,"rateLimit":(?:null|\{"window":<number>,"count":<number>\}),'
        r'"dsn":\{"public":<text>\},"browserSdkVersion":<text>,"dynamicSdkLoaderOptions":\{"hasReplay":<switch>,'
        r'"hasPerformance":<switch>,"hasDebug":<switch>,"hasFeedback":<switch>,"hasLogsAndMetrics":<switch>\},'
        r'"dateCreated":"([-0-9T:.]+Z)","expiresAt":null\}'
    )
    .replace("<number>", "[1-9][0-9]{0,17}")
    .replace("<text>", r'"[ !#-\[\]-~]*"')  # ASCII without quotes and backslashes
    .replace("<switch>", "(?:true|false)")
    .encode()
)
"""The form in which the service writes most values. Such a value matches the schema if its time does, and need not be
parsed: loading all keys takes half as long."""


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


def check_value(value: bytes) -> tuple[bytes, int]:
    """Return the public key and the version in a record's value, if `decode_state` can decode it.

    Creating the state takes longer than these checks, and most states are never looked up.

    Raises:
        MalformedRecordError: the value does not match the schema.
    """
    if (usual := USUAL_VALUE.fullmatch(value)) and _is_time(usual[3]):
        return usual[1], int(usual[2])
    members = _load(value)
    return members["id"].encode(), members["version"]


def _is_time(text: bytes) -> bool:
    try:
        datetime.fromisoformat(text.decode())
    except ValueError:
        return False
    return True


def decode_state(value: bytes) -> KeyState:
    """Decode the value of a record; unknown members are ignored, because later releases may add some.

    Raises:
        MalformedRecordError: the value does not match the schema.
    """
    members = _load(value)
    limit, options, expires_at = members["rateLimit"], members["dynamicSdkLoaderOptions"], members.get("expiresAt")
    return KeyState(
        public_key=members["id"],
        version=members["version"],
        organization_id=members["organizationId"],
        project_id=members["projectId"],
        name=members["name"],
        is_active=members["isActive"],
        rate_limit=None if limit is None else RateLimit(limit["window"], limit["count"]),
        dsn=members["dsn"]["public"],
        browser_sdk_version=members["browserSdkVersion"],
        loader_options=LoaderOptions(*(options[name] for name in _LOADER_OPTIONS)),
        created_at=datetime.fromisoformat(members["dateCreated"]),
        key_id=members.get("keyId"),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )


def _load(value: bytes) -> dict[str, Any]:
    """Return the members of a value that matches the schema."""
    try:
        members: dict[str, Any] = json.loads(value.decode())
        _check(members)
    except KeyError as error:
        raise MalformedRecordError(f"the value has no member {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedRecordError(str(error)) from None
    return members


def _check(members: dict[str, Any]) -> None:
    _check_types(members, _MEMBERS)
    _check_types(members["dsn"], _DSN)
    _check_types(members["dynamicSdkLoaderOptions"], _LOADER_OPTIONS)
    if members["rateLimit"] is not None:
        _check_types(members["rateLimit"], _RATE_LIMIT)
    if members.get("keyId") is not None:
        _check_types(members, _KEY_ID)
    if not _PUBLIC_KEY.fullmatch(members["id"]) or not 0 < members["version"] <= _MAX_VERSION:
        raise ValueError("id or version is out of range")
    datetime.fromisoformat(members["dateCreated"])
    expires_at = members.get("expiresAt")
    if expires_at is not None and datetime.fromisoformat(expires_at).tzinfo is None:
        raise ValueError(f"{expires_at!r:.40} has no time zone")


def _check_types(members: dict[str, Any], types: dict[str, type]) -> None:
    """Check that each value has exactly its type; `isinstance` would accept True as an int."""
    for name, expected in types.items():
        if type(members[name]) is not expected:
            raise TypeError(f"{members[name]!r:.40} is not of type {expected.__name__}")
