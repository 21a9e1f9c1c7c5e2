"""Organizations, projects and their client keys; pure values."""

import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import Enum, auto
from typing import Final

BROWSER_SDK_CHOICES: Final = ("10.x", "9.x", "8.x", "7.x")
"""What is offered; newest first."""

BROWSER_SDK_VERSIONS: Final = frozenset({*BROWSER_SDK_CHOICES, "latest", "6.x", "5.x", "4.x"})
"""What is accepted."""

ORGANIZATION_SLUG: Final = r"(?![0-9]+$)[a-zA-Z0-9][a-zA-Z0-9-]{0,49}(?<!-)"
PROJECT_SLUG: Final = r"(?![0-9]+$)[a-z0-9_-]{1,50}"

DEFAULT_KEY_NAME: Final = "Default"
"""The name of the key that a new project gets; clients tell it apart by this name alone."""


class Unset(Enum):
    """Stands for what a change leaves as it is, where None says something."""

    UNSET = auto()


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
class OrganizationChange:
    """What a caller asks to change of an organization; None, or `Unset` for the URL, leaves it as it is."""

    name: str | None = None
    ingest_url: str | Unset | None = Unset.UNSET

    def applied_to(self, organization: Organization) -> Organization:
        """``organization`` as asked for."""
        url = organization.ingest_url if isinstance(self.ingest_url, Unset) else self.ingest_url
        return replace(organization, name=self.name or organization.name, ingest_url=url)


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
class ProjectChange:
    """What a caller asks to change of a project; None leaves it as it is."""

    name: str | None = None
    slug: str | None = None

    def applied_to(self, project: Project) -> Project:
        """``project`` as asked for."""
        return replace(project, name=self.name or project.name, slug=self.slug or project.slug)


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

    def __hash__(self) -> int:
        """Of the public key alone: no other key has it, and where keys are kept they are looked up all the time."""
        return hash(self.public_key)


@dataclass(frozen=True, slots=True)
class ProjectKeyChange:
    """What a caller asks to change of a key; None, or `Unset` for the limit, leaves a member as it is.

    ``loader_options`` holds only those of the switches that are to change, by the names of `LoaderOptions`.
    """

    name: str | None = None
    is_active: bool | None = None
    rate_limit: RateLimit | Unset | None = Unset.UNSET
    browser_sdk_version: str | None = None
    loader_options: Mapping[str, bool] = field(default_factory=dict)

    def applied_to(self, key: ProjectKey) -> ProjectKey:
        """``key`` as asked for, in its next version; the same key if nothing of it changes."""
        changed = replace(
            key,
            label=self.name or key.label,
            is_active=key.is_active if self.is_active is None else self.is_active,
            rate_limit=key.rate_limit if isinstance(self.rate_limit, Unset) else self.rate_limit,
            browser_sdk_version=self.browser_sdk_version or key.browser_sdk_version,
            loader_options=replace(key.loader_options, **self.loader_options),
        )
        return key if changed == key else next_version(changed)


def next_version(key: ProjectKey) -> ProjectKey:
    """``key`` after one change more."""
    return replace(key, version=key.version + 1)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a token speaks for, and what it may do.

    ``organization_id`` and ``organization_slug`` are None for a token of all organizations. ``scopes`` are
    expanded. ``rate_limit`` is in requests a second, None for no limit.
    """

    token_id: int
    organization_id: int | None
    organization_slug: str | None
    scopes: frozenset[str]
    rate_limit: int | None = None


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
