"""A key as readers of the topic know it."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from service.consumer.errors import MalformedError
from service.domain.model import LoaderOptions, RateLimit

_PUBLIC_KEY: Final = re.compile(r"[0-9a-f]{32}")
_GREATEST_VERSION: Final = 2**63 - 1
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key in one version, whole.

    ``is_active`` False: what is sent under it is to be refused. ``dsn`` is the public one. ``rate_limit`` None: no
    limit. ``browser_sdk_version`` and ``loader_options`` are for the browser loader.
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


@dataclass(frozen=True, slots=True)
class Change:
    """A key as it is now; ``state`` None: it is gone, or never was. ``version`` is 0 where none is known."""

    public_key: str
    version: int
    state: KeyState | None


def packed(public_key: str) -> bytes | None:
    """A public key in 16 bytes; None for what cannot be one."""
    return bytes.fromhex(public_key) if _PUBLIC_KEY.fullmatch(public_key) else None


def decode(value: bytes) -> KeyState:
    """The state that a record's value tells.

    Members that are not known here are left out: a later release may send more of them.

    Raises:
        MalformedError: it tells none.
    """
    try:
        return _state(json.loads(value.decode()))
    except KeyError as error:
        raise MalformedError(f"it has no {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from None


def _state(told: dict[str, Any]) -> KeyState:
    public_key, version = _a(str, told["id"]), _a(int, told["version"])
    if not _PUBLIC_KEY.fullmatch(public_key) or not 0 < version <= _GREATEST_VERSION:
        raise ValueError("id or version is out of range")
    limit, options = told["rateLimit"], told["dynamicSdkLoaderOptions"]
    return KeyState(
        public_key=public_key,
        version=version,
        organization_id=_a(int, told["organizationId"]),
        project_id=_a(int, told["projectId"]),
        name=_a(str, told["name"]),
        is_active=_a(bool, told["isActive"]),
        rate_limit=None if limit is None else RateLimit(_a(int, limit["window"]), _a(int, limit["count"])),
        dsn=_a(str, told["dsn"]["public"]),
        browser_sdk_version=_a(str, told["browserSdkVersion"]),
        loader_options=LoaderOptions(
            has_replay=_a(bool, options["hasReplay"]),
            has_performance=_a(bool, options["hasPerformance"]),
            has_debug=_a(bool, options["hasDebug"]),
            has_feedback=_a(bool, options["hasFeedback"]),
            has_logs_and_metrics=_a(bool, options["hasLogsAndMetrics"]),
        ),
        created_at=datetime.fromisoformat(told["dateCreated"]),
    )


def _a(kind: type[_Kind], value: Any) -> _Kind:
    if type(value) is not kind:  # true is an int to isinstance
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value
