"""Keys as clients read them."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import orjson

from service.domain.dsn import Endpoints, Ingest, dsn_urls, project_endpoints
from service.domain.events import loader_options_to_json, rate_limit_to_json, time_to_json
from service.domain.model import BROWSER_SDK_CHOICES, Project, ProjectKey
from service.domain.pagination import KeyRows, Page

_CHOICES: Final = {"choices": [[version, version] for version in BROWSER_SDK_CHOICES]}

_KEPT: Final = 4096
"""Keys whose text is kept; each is some 2 000 bytes."""

_KEPT_PAGES: Final = 128
"""Pages whose text is kept; each is of some 20 000 bytes, at most 200 000."""


class KeySerializer:
    """Writes keys as JSON, each once as long as it stays as it is: reads are many, changes few."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._written = lru_cache(maxsize=_KEPT)(self._write)
        self._written_pages = lru_cache(maxsize=_KEPT_PAGES)(self._write_page)

    def new(self, key: ProjectKey, project: Project) -> bytes:
        """The JSON of a key that has just been written; not kept, for it may never be asked for."""
        return self._write(key, *_beside(project))

    def one(self, key: ProjectKey, project: Project) -> bytes:
        """The JSON of a key that has been read."""
        return self._written(key, *_beside(project))

    def page(self, rows: KeyRows, page: Page, project: Project) -> bytes:
        """The JSON of those of the keys, which are of one project, that are on the page."""
        return self._written_pages(rows, page, *_beside(project))

    def page_of_many(self, keys: Iterable[tuple[ProjectKey, Project]]) -> bytes:
        """The JSON of a list of keys, each of its own project."""
        return _list([self.one(key, project) for key, project in keys])

    def _write_page(self, rows: KeyRows, page: Page, *beside: Any) -> bytes:
        return _list([self._written(key, *beside) for key in page.of(rows.keys)])

    def _write(
        self, key: ProjectKey, organization_id: int, ingest_url: str | None, browser_sdk_version: str
    ) -> bytes:
        at = project_endpoints(self._ingest, organization_id, ingest_url, key.project_id)
        return orjson.dumps(key_to_json(key, at, browser_sdk_version))


def _beside(project: Project) -> tuple[int, str | None, str]:
    """What a key's text depends on besides the key itself."""
    organization = project.organization
    return organization.id, organization.ingest_url, project.default_browser_sdk_version


def _list(texts: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"


def key_to_json(key: ProjectKey, at: Endpoints, browser_sdk_version: str) -> dict[str, Any]:
    """A key's 13 members, in their order.

    Args:
        key: that.
        at: the addresses of its project.
        browser_sdk_version: its project's, for a key that has none of its own.
    """
    return {
        "id": key.public_key,
        "name": key.label,
        "label": key.label,
        "public": key.public_key,
        "secret": key.secret_key,
        "projectId": key.project_id,
        "isActive": key.is_active,
        "rateLimit": rate_limit_to_json(key.rate_limit),
        "dsn": dsn_urls(at, key.public_key, key.secret_key),
        "browserSdkVersion": key.browser_sdk_version or browser_sdk_version,
        "browserSdk": _CHOICES,
        "dateCreated": time_to_json(key.created_at),
        "dynamicSdkLoaderOptions": loader_options_to_json(key.loader_options),
    }
