"""DSNs and ingest URLs of keys, as in Sentry's client-keys API, whose clients parse them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from service.domain.model import Project

_BASE_URL: Final = re.compile(
    r"https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~-]+)*"
)
MAX_BASE_URL_LENGTH: Final = 200
"""Characters."""

_PORTS: Final = range(1, 2**16)

_MAX_CACHED_PROJECTS: Final = 4096
"""Number of projects whose endpoints are cached; about 500 bytes each."""


def is_base_url(text: str) -> bool:
    """Return whether ``text`` can be an ingest URL: an http(s) URL without user, query and trailing slash."""
    match = _BASE_URL.fullmatch(text)
    return match is not None and len(text) <= MAX_BASE_URL_LENGTH and int(match["port"] or _PORTS[0]) in _PORTS


class Ingest(NamedTuple):  # a tuple: its hash, for the cache of endpoints, needs no Python function
    """The ingest URL of the installation and what is derived from it.

    Attributes:
        url: The base of the DSNs of organizations without an ingest URL of their own; no trailing slash.
        org_subdomains: Whether the host of ``url`` gets the prefix ``o<organization id>.ingest.``.
        loader_cdn_url: The base URL of the browser SDK loader; None derives it from ``url``.
    """

    url: str
    org_subdomains: bool = False
    loader_cdn_url: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The parts of a project's URLs that do not depend on the key.

    Attributes:
        dsn: The DSN that clients are configured with, with ``%s`` in place of the public key.
        api: The base URL of the ingest endpoints, without a trailing slash.
        loader: The base URL of the browser SDK loader, with a trailing slash.
    """

    dsn: str
    api: str
    loader: str


@lru_cache(maxsize=_MAX_CACHED_PROJECTS)
def project_endpoints(ingest: Ingest, organization_id: int, ingest_url: str | None, project_id: int) -> Endpoints:
    """Return the endpoints of a project; ``ingest_url`` is that of its organization and precedes ``ingest``."""
    canonical = ingest.url
    if ingest.org_subdomains:
        scheme, _, rest = canonical.partition("://")
        canonical = f"{scheme}://o{organization_id}.ingest.{rest}"
    base = ingest_url or canonical
    parts = urlsplit(base)
    return Endpoints(
        dsn=f"{parts.scheme}://%s@{parts.netloc}{parts.path}/{project_id}",
        api=f"{base}/api/{project_id}",
        loader=f"{(ingest.loader_cdn_url or f'{canonical}/js-sdk-loader').rstrip('/')}/",
    )


def endpoints(ingest: Ingest, project: Project) -> Endpoints:
    """Return the endpoints of ``project``."""
    organization = project.organization
    return project_endpoints(ingest, organization.id, organization.ingest_url, project.id)
