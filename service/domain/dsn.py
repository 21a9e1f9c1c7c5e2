"""The addresses a key is known by.

Source of every form: Sentry's client-keys API, whose clients parse them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from service.domain.model import Project

_BASE_URL: Final = re.compile(
    r"https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~-]+)*"
)
LONGEST_BASE_URL: Final = 200
_PORTS: Final = range(1, 2**16)

_PROJECTS_KEPT: Final = 4096
"""Projects whose endpoints are kept ready; each is some 500 bytes."""


def is_base_url(text: str) -> bool:
    """Whether DSNs can begin with ``text``: an http or https URL without a query and without a slash at its end."""
    found = _BASE_URL.fullmatch(text)
    return found is not None and len(text) <= LONGEST_BASE_URL and int(found["port"] or _PORTS[0]) in _PORTS


@dataclass(frozen=True, slots=True)
class Ingest:
    """Where clients send their data.

    ``url`` is the base of every DSN, without a slash at its end. With ``org_subdomains`` its host is prefixed
    by ``o<organization id>.ingest.``. ``loader_cdn_url`` is the base of the browser loader, None for ``url``.
    """

    url: str
    org_subdomains: bool = False
    loader_cdn_url: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """One project's addresses, lacking only the key."""

    scheme: str
    rest: str
    api: str
    loader: str


@lru_cache(maxsize=_PROJECTS_KEPT)
def project_endpoints(
    ingest: Ingest, organization_id: int, ingest_url: str | None, project_id: int
) -> Endpoints:
    """The addresses of a project, where ``ingest`` or its organization's own ``ingest_url`` put them."""
    canonical = ingest.url
    if ingest.org_subdomains:
        scheme, _, rest = canonical.partition("://")
        canonical = f"{scheme}://o{organization_id}.ingest.{rest}"
    base = ingest_url or canonical
    parts = urlsplit(base)
    return Endpoints(
        scheme=parts.scheme,
        rest=f"{parts.netloc}{parts.path}/{project_id}",
        api=f"{base}/api/{project_id}",
        loader=ingest.loader_cdn_url or f"{canonical}/js-sdk-loader/",
    )


def endpoints(ingest: Ingest, project: Project) -> Endpoints:
    """`project_endpoints` of ``project``."""
    organization = project.organization
    return project_endpoints(ingest, organization.id, organization.ingest_url, project.id)


def public_dsn(at: Endpoints, public_key: str) -> str:
    """The DSN that clients are configured with."""
    return f"{at.scheme}://{public_key}@{at.rest}"


def dsn_urls(at: Endpoints, public_key: str, secret_key: str) -> dict[str, str]:
    """Every address of a key, in the order clients see them."""
    return {
        "secret": f"{at.scheme}://{public_key}:{secret_key}@{at.rest}",
        "public": public_dsn(at, public_key),
        "csp": f"{at.api}/csp-report/?sentry_key={public_key}",
        "security": f"{at.api}/security/?sentry_key={public_key}",
        "minidump": f"{at.api}/minidump/?sentry_key={public_key}",
        "nel": f"{at.api}/nel/?sentry_key={public_key}",
        "unreal": f"{at.api}/unreal/{public_key}/",
        "crons": f"{at.api}/cron/___MONITOR_SLUG___/{public_key}/",
        "cdn": f"{at.loader}{public_key}.min.js",
        "playstation": f"{at.api}/playstation/?sentry_key={public_key}",
        "integration": f"{at.api}/integration/",
        "otlp_traces": f"{at.api}/integration/otlp/v1/traces",
        "otlp_logs": f"{at.api}/integration/otlp/v1/logs",
    }
