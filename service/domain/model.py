"""Organizations, projects and their client keys; pure values."""

import re
import secrets
import unicodedata
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

BROWSER_SDK_CHOICES: Final = ("10.x", "9.x", "8.x", "7.x")
"""What is offered; newest first."""

BROWSER_SDK_VERSIONS: Final = frozenset({*BROWSER_SDK_CHOICES, "latest", "6.x", "5.x", "4.x"})
"""What is accepted."""

ORGANIZATION_SLUG: Final = r"(?![0-9]+$)[a-zA-Z0-9][a-zA-Z0-9-]{0,49}(?<!-)"
PROJECT_SLUG: Final = r"(?![0-9]+$)[a-z0-9_-]{1,50}"

DEFAULT_KEY_NAME: Final = "Default"
"""The name of the key that a new project gets; clients tell it apart by this name alone."""


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


LOADER_OPTION_NAMES: Final = tuple(option.name for option in fields(LoaderOptions))


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant."""

    id: int
    slug: str
    name: str
    ingest_url: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """What keys are issued for."""

    id: int
    slug: str
    name: str
    default_browser_sdk_version: str
    created_at: datetime
    organization: Organization


@dataclass(frozen=True, slots=True)
class NewProjectKey:
    """What a caller asks of a new key; everything that is None is chosen for it."""

    name: str | None = None
    public_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    rate_limit: RateLimit | None = None
    browser_sdk_version: str | None = None
    loader_options: LoaderOptions = LoaderOptions()


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """A client key of a project.

    ``browser_sdk_version`` None means the project's default. ``version`` is 1 at first and grows by one with
    each change.
    """

    project_id: int
    label: str
    public_key: str
    secret_key: str = field(repr=False)
    is_active: bool
    rate_limit: RateLimit | None
    browser_sdk_version: str | None
    loader_options: LoaderOptions
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token speaks for, and what it may do.

    ``organization_id`` and ``organization_slug`` are None for a token of all organizations. ``scopes`` are
    expanded.
    """

    token_id: int
    organization_id: int | None
    organization_slug: str | None
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a write comes from: what the audit keeps of it. ``token_id`` None is the command line."""

    token_id: int | None
    request_id: str
    remote_address: str | None = None
    traceparent: str | None = None


def new_key_half() -> str:
    """128 random bits as 32 lower-case hex digits: a public or a secret key."""
    return secrets.token_hex(16)


def slug_of(name: str, pattern: str) -> str | None:
    """The slug that ``name`` makes, or None where it makes none that ``pattern`` allows."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:50].strip("-")
    return slug if re.fullmatch(pattern, slug) else None
