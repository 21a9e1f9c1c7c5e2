"""Example bodies of requests and responses: an organization, its project, and a key of the project."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from service.domain.audit import ACTIONS, AuditEntry, audit_entry_to_json
from service.domain.dsn import Ingest, endpoints
from service.domain.model import LoaderOptions, Organization, Project, ProjectKey, RateLimit
from service.http.serializers import key_to_json, organization_to_json, project_to_json

_CREATED_AT: Final = datetime(2026, 11, 24, 4, 54, 16, 722436, tzinfo=UTC)
_INGEST: Final = "https://ingest.example.com"

_organization: Final = Organization(
    id=1,
    slug="the-interstellar-jurisdiction",
    name="The Interstellar Jurisdiction",
    ingest_url=None,
    created_at=_CREATED_AT - timedelta(hours=2),
)
_project: Final = Project(
    id=1,
    slug="pump-station",
    name="Pump Station",
    default_browser_sdk_version="10.x",
    created_at=_CREATED_AT - timedelta(hours=1),
    organization=_organization,
)
_key: Final = ProjectKey(
    project_id=_project.id,
    label="Fabulous Key",
    public_key="889a038dcce86f89a24e2c5bcf7b2e41",
    secret_key="526e5c638e90c79b9b7cd0e74d77de53",  # noqa: S106 -- an example
    is_active=True,
    rate_limit=RateLimit(window=3600, count=1000),
    browser_sdk_version=None,
    loader_options=LoaderOptions(),
    version=1,
    created_at=_CREATED_AT,
)
_entry: Final = AuditEntry(
    id=3,
    organization_id=_organization.id,
    organization_slug=_organization.slug,
    project_id=_project.id,
    token_id=1,
    token_name="ci",  # noqa: S106 -- a name
    action="projectkey.create",
    target=_key.public_key,
    request_id="dfa8531226e6d9320e0411770b1ba1db",
    remote_address="192.0.2.7",
    data={"name": _key.label, "rateLimit": {"window": 3600, "count": 1000}},
    change_id=UUID("3301cb26-3077-4316-aaad-44ad6fc055b1"),
    created_at=_CREATED_AT,
)

KEY: Final = key_to_json(_key, endpoints(Ingest(_INGEST), _project), _project.default_browser_sdk_version)
PROJECT: Final = project_to_json(_project)
ORGANIZATION: Final = organization_to_json(_organization)
AUDIT: Final = {"rows": [audit_entry_to_json(_entry)], "options": list(ACTIONS)}

Examples = dict[str, dict[str, Any]]
"""Request bodies by summary."""

NEW_ORGANIZATION: Final[Examples] = {
    "with a slug": {"name": _organization.name, "slug": _organization.slug},
    "with its own ingest URL": {"name": _organization.name, "ingestUrl": "https://relay.example.com/ingest"},
}
ORGANIZATION_CHANGE: Final[Examples] = {
    "new name": {"name": "The Jurisdiction"},
    "default ingest URL": {"ingestUrl": None},
}
NEW_PROJECT: Final[Examples] = {
    "with a first key": {"name": _project.name, "slug": _project.slug},
    "without a key": {"name": _project.name, "defaultKey": False},
}
PROJECT_CHANGE: Final[Examples] = {"new slug": {"slug": "pumping-station"}}
NEW_KEY: Final[Examples] = {
    "with a name and a rate limit": {"name": _key.label, "rateLimit": {"window": 3600, "count": 1000}},
    "with generated values": {},
    "with given halves": {"public": _key.public_key, "secret": _key.secret_key},
    "with browser options": {"browserSdkVersion": "9.x", "dynamicSdkLoaderOptions": {"hasFeedback": True}},
}
KEY_CHANGE: Final[Examples] = {
    "deactivate": {"isActive": False},
    "remove the rate limit": {"rateLimit": None},
    "new name and rate limit": {"name": "Faster", "rateLimit": {"window": 60, "count": 10}},
}
