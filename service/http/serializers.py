"""Keys, organizations and projects as the JSON of responses."""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from service.concurrency.derived_cache import DerivedCache
from service.domain.dsn import Endpoints, Ingest, project_endpoints
from service.domain.events import loader_options_to_json, rate_limit_to_json, time_to_json
from service.domain.model import BROWSER_SDK_CHOICES, Organization, Project, ProjectKey
from service.domain.pagination import KeyRows, Page

_BROWSER_SDK: Final = {"choices": [[version, version] for version in BROWSER_SDK_CHOICES]}

_CACHED_KEYS: Final = 4096
"""Keys whose JSON is cached, about 2 000 bytes each."""

_CACHED_PAGES: Final = 128
"""Pages whose JSON is cached: about 20 000 bytes each, at most 200 000."""

_ProjectValues = tuple[int, str | None, str]
"""The values of a project on which the JSON of its keys depends: organization id, ingest URL, browser SDK version."""


class KeySerializer:
    """The serializer of keys. It caches JSON with all values on which it depends, as reads outnumber writes."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._keys = DerivedCache[str, tuple[ProjectKey, _ProjectValues], bytes](
            self._serialize, max_size=_CACHED_KEYS
        )
        self._pages = DerivedCache[tuple[int, Page], tuple[KeyRows, Page, _ProjectValues], bytes](
            self._serialize_page, max_size=_CACHED_PAGES
        )

    def serialize_written(self, key: ProjectKey, project: Project) -> bytes:
        """Return the JSON of a new version of a key; do not cache it, as it may never be read."""
        organization = project.organization
        endpoints = project_endpoints(self._ingest, organization.id, organization.ingest_url, project.id)
        return orjson.dumps(key_to_json(key, endpoints, project.default_browser_sdk_version))

    def serialize(self, key: ProjectKey, project: Project) -> bytes:
        """Return the JSON of a key."""
        return self._keys.get(key.public_key, (key, _project_values(project)))

    def serialize_page(self, rows: KeyRows, page: Page, project: Project) -> bytes:
        """Return the JSON array of the keys of ``project`` that are on ``page``."""
        return self._pages.get((project.id, page), (rows, page, _project_values(project)))

    def serialize_all(self, keys: Iterable[tuple[ProjectKey, Project]]) -> bytes:
        """Return the JSON array of keys of several projects."""
        return _json_array([self.serialize(key, project) for key, project in keys])

    def _serialize_page(self, source: tuple[KeyRows, Page, _ProjectValues]) -> bytes:
        rows, page, values = source
        return _json_array([self._keys.get(key.public_key, (key, values)) for key in page.of(rows.keys)])

    def _serialize(self, source: tuple[ProjectKey, _ProjectValues]) -> bytes:
        key, (organization_id, ingest_url, browser_sdk_version) = source
        endpoints = project_endpoints(self._ingest, organization_id, ingest_url, key.project_id)
        return orjson.dumps(key_to_json(key, endpoints, browser_sdk_version))


def _project_values(project: Project) -> _ProjectValues:
    organization = project.organization
    return organization.id, organization.ingest_url, project.default_browser_sdk_version


def _json_array(items: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def key_to_json(key: ProjectKey, endpoints: Endpoints, browser_sdk_version: str) -> dict[str, Any]:
    """Return the 13 JSON members of a key, and ``expiresAt`` if it has an expiry.

    Args:
        key: The key.
        endpoints: The ingest endpoints of its project.
        browser_sdk_version: The default of its project, for a key without a version.
    """
    members = {
        "id": key.public_key,
        "name": key.label,
        "label": key.label,
        "public": key.public_key,
        "secret": key.secret_key,
        "projectId": key.project_id,
        "isActive": key.is_active,
        "rateLimit": key.rate_limit and rate_limit_to_json(key.rate_limit),
        "dsn": {
            "secret": endpoints.dsn % f"{key.public_key}:{key.secret_key}",
            "public": endpoints.dsn % key.public_key,
            "csp": f"{endpoints.api}/csp-report/?sentry_key={key.public_key}",
            "security": f"{endpoints.api}/security/?sentry_key={key.public_key}",
            "minidump": f"{endpoints.api}/minidump/?sentry_key={key.public_key}",
            "nel": f"{endpoints.api}/nel/?sentry_key={key.public_key}",
            "unreal": f"{endpoints.api}/unreal/{key.public_key}/",
            "crons": f"{endpoints.api}/cron/___MONITOR_SLUG___/{key.public_key}/",
            "cdn": f"{endpoints.loader}{key.public_key}.min.js",
            "playstation": f"{endpoints.api}/playstation/?sentry_key={key.public_key}",
            "integration": f"{endpoints.api}/integration/",
            "otlp_traces": f"{endpoints.api}/integration/otlp/v1/traces",
            "otlp_logs": f"{endpoints.api}/integration/otlp/v1/logs",
        },
        "browserSdkVersion": key.browser_sdk_version or browser_sdk_version,
        "browserSdk": _BROWSER_SDK,
        "dateCreated": time_to_json(key.created_at),
        "dynamicSdkLoaderOptions": loader_options_to_json(key.loader_options),
    }
    if key.expires_at is not None:
        members["expiresAt"] = time_to_json(key.expires_at)
    return members


def without_secrets(keys: bytes) -> bytes:
    """Return the JSON array ``keys`` without the secret halves: lists in a browser do not need them."""
    values = orjson.loads(keys)
    for value in values:
        del value["secret"], value["dsn"]["secret"]
    return orjson.dumps(values)


def organization_to_json(organization: Organization) -> dict[str, Any]:
    """Return the JSON members of an organization."""
    return {
        "id": str(organization.id),
        "slug": organization.slug,
        "name": organization.name,
        "dateCreated": time_to_json(organization.created_at),
        "ingestUrl": organization.ingest_url,
    }


def team_to_json(organization: Organization) -> dict[str, Any]:
    """Return the JSON members of the only team of an organization, which has its id, its slug and its name."""
    return {
        "id": str(organization.id),
        "slug": organization.slug,
        "name": organization.name,
        "dateCreated": time_to_json(organization.created_at),
        "isMember": True,
        "hasAccess": True,
    }


def project_to_json(project: Project) -> dict[str, Any]:
    """Return the JSON members of a project; those after ``organization`` are for Sentry's clients."""
    organization = project.organization
    team = {"id": str(organization.id), "slug": organization.slug, "name": organization.name}
    return {
        "id": str(project.id),
        "slug": project.slug,
        "name": project.name,
        "dateCreated": time_to_json(project.created_at),
        "organization": organization_to_json(organization),
        "platform": project.platform,
        "status": "active",
        "isMember": True,
        "hasAccess": True,
        "features": [],
        "team": team,
        "teams": [team],
    }
