"""Organizations, projects, client keys and their changes."""

import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from typing import Final, NamedTuple

BROWSER_SDK_CHOICES: Final = ("10.x", "9.x", "8.x", "7.x")
"""The browser SDK versions that responses list, newest first."""

BROWSER_SDK_VERSIONS: Final = frozenset({*BROWSER_SDK_CHOICES, "latest", "6.x", "5.x", "4.x"})
"""The browser SDK versions that requests may contain."""

KEY_HALF: Final = re.compile(r"[a-f0-9]{32}")
"""The form of a public key and of a secret key."""

ORGANIZATION_SLUG: Final = r"(?![0-9]+$)[a-zA-Z0-9][a-zA-Z0-9-]{0,49}(?<!-)"
PROJECT_SLUG: Final = r"(?![0-9]+$)[a-z0-9_-]{1,50}"

MAX_BIGINT: Final = 2**63 - 1
"""The largest ``bigint`` of Postgres, which is the largest id and the largest version."""

MAX_RATE_LIMIT_COUNT: Final = 2**31 - 1
MAX_RATE_LIMIT_WINDOW: Final = 86_400
"""Seconds."""

new_key_half: Final = partial(secrets.token_hex, 16)
"""Returns 128 random bits as 32 lower-case hex digits: a public or a secret key."""

utc_now: Final = partial(datetime.now, UTC)
"""Returns the current time: the default of every parameter ``clock``."""

DEFAULT_KEY_NAME: Final = "Default"
"""The name of the key that is created with a project; clients recognize that key by its name alone."""


class Unset(Enum):
    """The value of a member that a change does not contain, where None is a value of its own."""

    UNSET = auto()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``count`` events per ``window`` seconds."""

    window: int
    count: int


class LoaderOptions(NamedTuple):  # a tuple: its hash, for the caches of its JSON, needs no Python function
    """The options of the browser SDK loader."""

    has_replay: bool = True
    has_performance: bool = True
    has_debug: bool = False
    has_feedback: bool = False
    has_logs_and_metrics: bool = False


_DEFAULT_LOADER_OPTIONS: Final = LoaderOptions()

LOADER_OPTIONS: Final = {
    "hasReplay": "has_replay",
    "hasPerformance": "has_performance",
    "hasDebug": "has_debug",
    "hasFeedback": "has_feedback",
    "hasLogsAndMetrics": "has_logs_and_metrics",
}
"""The attributes of `LoaderOptions` in their order, by their names in JSON."""


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant."""

    id: int
    slug: str
    name: str
    ingest_url: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewOrganization:
    """The contents of a request for a new organization."""

    name: str
    slug: str
    ingest_url: str | None = None


@dataclass(frozen=True, slots=True)
class OrganizationChange:
    """A change of an organization.

    ``name`` stays unchanged if it is None, ``ingest_url`` if it is `Unset`; None removes the ingest URL.
    """

    name: str | None = None
    ingest_url: str | Unset | None = Unset.UNSET

    def applied_to(self, organization: Organization) -> Organization:
        """Return ``organization`` with this change."""
        url = organization.ingest_url if isinstance(self.ingest_url, Unset) else self.ingest_url
        return replace(organization, name=self.name or organization.name, ingest_url=url)


@dataclass(frozen=True, slots=True)
class Project:
    """A project of an organization; keys belong to projects."""

    id: int
    slug: str
    name: str
    default_browser_sdk_version: str
    created_at: datetime
    organization: Organization
    platform: str | None = None
    """What clients set, such as ``python``; the service does not use it."""


@dataclass(frozen=True, slots=True)
class NewProject:
    """The contents of a request for a new project; with ``default_key`` it has a key named `DEFAULT_KEY_NAME`."""

    name: str
    slug: str
    default_key: bool = True
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """A change of a project; members that are None stay unchanged."""

    name: str | None = None
    slug: str | None = None
    platform: str | None = None

    def applied_to(self, project: Project) -> Project:
        """Return ``project`` with this change."""
        return replace(
            project,
            name=self.name or project.name,
            slug=self.slug or project.slug,
            platform=self.platform or project.platform,
        )


@dataclass(slots=True)  # not frozen, as all values of a create: a frozen one takes three times as long
class NewProjectKey:
    """The contents of a request for a new key.

    The service generates ``name``, ``public_key`` and ``secret_key`` if they are None. ``rate_limit`` None means no
    limit, ``browser_sdk_version`` None means the default of the project, ``expires_at`` None means never.
    """

    name: str | None = None
    public_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    rate_limit: RateLimit | None = None
    browser_sdk_version: str | None = None
    loader_options: LoaderOptions = _DEFAULT_LOADER_OPTIONS
    expires_at: datetime | None = None


@dataclass(slots=True)  # not frozen: see `NewProjectKey`
class ProjectKey:
    """A client key of a project.

    ``browser_sdk_version`` None means the default of the project. ``version`` starts at 1; each change adds 1. At
    ``expires_at`` the service disables the key; None means never. ``id`` is None until the key is inserted.
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
    expires_at: datetime | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class ProjectKeyChange:
    """A change of a key; members that are None stay unchanged, except the rate limit and the expiry.

    These two stay unchanged if they are `Unset`; None removes them. ``loader_options`` contains only the options to
    change, by their names in `LoaderOptions`.
    """

    name: str | None = None
    is_active: bool | None = None
    rate_limit: RateLimit | Unset | None = Unset.UNSET
    browser_sdk_version: str | None = None
    loader_options: Mapping[str, bool] = field(default_factory=dict)
    expires_at: datetime | Unset | None = Unset.UNSET

    def applied_to(self, key: ProjectKey) -> ProjectKey:
        """Return ``key`` with this change and its next version; ``key`` itself if nothing changes."""
        changed = replace(
            key,
            label=self.name or key.label,
            is_active=key.is_active if self.is_active is None else self.is_active,
            rate_limit=key.rate_limit if isinstance(self.rate_limit, Unset) else self.rate_limit,
            browser_sdk_version=self.browser_sdk_version or key.browser_sdk_version,
            loader_options=key.loader_options._replace(**self.loader_options),
            expires_at=key.expires_at if isinstance(self.expires_at, Unset) else self.expires_at,
        )
        return key if changed == key else next_version(changed)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The contents of a request to rotate a key.

    For ``overlap`` seconds the old key stays active. The new key has the name of the old one if ``name`` is None, and
    its expiry if ``expires_at`` is `Unset`.
    """

    overlap: int = 86_400
    name: str | None = None
    expires_at: datetime | Unset | None = Unset.UNSET


MAX_OVERLAP: Final = 31_536_000
"""Seconds."""


def next_version(key: ProjectKey) -> ProjectKey:
    """Return ``key`` with its version increased by 1."""
    return replace(key, version=key.version + 1)


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity and the permissions of a token.

    ``organization_id`` and ``organization_slug`` are None for a token of all organizations. ``scopes`` includes the
    implied scopes. ``rate_limit`` is the number of requests per second and replica; None means no limit.
    ``credential`` is the hash of what the caller presented: a token, or the id of a session of the console if
    ``is_session`` is true.
    """

    token_id: int
    organization_id: int | None
    organization_slug: str | None
    scopes: frozenset[str]
    rate_limit: int | None = None
    credential: bytes = field(default=b"", repr=False)
    is_session: bool = False


@dataclass(slots=True)  # not frozen: see `NewProjectKey`
class Origin:
    """The origin of a write, as the audit log stores it; ``token_id`` None means the command line."""

    token_id: int | None
    request_id: str
    remote_address: str | None = None
    traceparent: str | None = None


def slug_of(name: str, pattern: str) -> str | None:
    """Return a slug derived from ``name``, or None if it does not match ``pattern``."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:50].strip("-")
    return slug if re.fullmatch(pattern, slug) else None
