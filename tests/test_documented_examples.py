"""The examples in the OpenAPI document are valid, and those of responses are what the service responds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from service.domain import errors as domain_errors
from service.domain.audit import ACTIONS, AuditEntry, audit_entry_to_json
from service.domain.dsn import Ingest, endpoints
from service.domain.model import LoaderOptions, Organization, Project, ProjectKey, RateLimit
from service.domain.tokens import TokenRow, token_to_json
from service.http import errors, schemas
from service.http.serializers import key_to_json, organization_to_json, project_to_json, team_to_json
from tests.openapi import OPENAPI, SCHEMAS, operations, resolved, validator
from tests.request_schemas import BODIES

_CREATED_AT = datetime(2026, 11, 24, 4, 54, 16, 722436, tzinfo=UTC)
_INGEST = "https://ingest.example.com"

_ORGANIZATION = Organization(
    id=1,
    slug="the-interstellar-jurisdiction",
    name="The Interstellar Jurisdiction",
    ingest_url=None,
    created_at=_CREATED_AT - timedelta(hours=2),
)
_PROJECT = Project(
    id=1,
    slug="pump-station",
    name="Pump Station",
    default_browser_sdk_version="10.x",
    created_at=_CREATED_AT - timedelta(hours=1),
    organization=_ORGANIZATION,
    platform="python",
)
_KEY = ProjectKey(
    project_id=_PROJECT.id,
    label="Fabulous Key",
    public_key="889a038dcce86f89a24e2c5bcf7b2e41",
    secret_key="526e5c638e90c79b9b7cd0e74d77de53",
    is_active=True,
    rate_limit=RateLimit(window=3600, count=1000),
    browser_sdk_version=None,
    loader_options=LoaderOptions(),
    version=1,
    created_at=_CREATED_AT,
)
_TOKEN = TokenRow(
    id=1,
    name="ci",
    organization_id=_ORGANIZATION.id,
    organization_slug=_ORGANIZATION.slug,
    last_four="53bb",
    scopes=("project:write",),
    created_at=_CREATED_AT,
    rate_limit=None,
    expires_at=None,
    last_used_at=_CREATED_AT,
    revoked_at=None,
)
_ENTRY = AuditEntry(
    id=3,
    organization_id=_ORGANIZATION.id,
    organization_slug=_ORGANIZATION.slug,
    project_id=_PROJECT.id,
    token_id=1,
    token_name="ci",
    action="projectkey.create",
    target=_KEY.public_key,
    request_id="dfa8531226e6d9320e0411770b1ba1db",
    remote_address="192.0.2.7",
    data={"name": _KEY.label, "rateLimit": {"window": 3600, "count": 1000}},
    change_id=UUID("3301cb26-3077-4316-aaad-44ad6fc055b1"),
    created_at=_CREATED_AT,
)

_KEY_JSON = key_to_json(
    _KEY, endpoints(Ingest("https://ingest.example.com"), _PROJECT), _PROJECT.default_browser_sdk_version
)
_RESPONSES = {
    "Key": _KEY_JSON,
    "Project": project_to_json(_PROJECT),
    "Organization": organization_to_json(_ORGANIZATION),
    "AuditPage": {"rows": [audit_entry_to_json(_ENTRY)], "options": list(ACTIONS)},
    "KeyStats": {"ts": 1773576000, "total": 8, "dropped": 5, "accepted": 2, "filtered": 1},
    "Team": team_to_json(_ORGANIZATION),
    "Token": token_to_json(_TOKEN),
    "PublishingStatus": {"kafka": "ok", "oldestEventAgeSeconds": 0.0, "parked": 0},
    "Health": {"problems": [], "healthy": {}},
    "Regions": {"regions": []},
}
"""Bodies that the service writes, by the component of their schema."""

_REDIRECT = errors.redirect("GET", "/api/0/projects/1/pumping-station/", "pumping-station")
_ERRORS: dict[str, list[domain_errors.ProjectKeyError | errors.HttpError]] = {
    "Found": [_REDIRECT],
    "PermanentRedirect": [_REDIRECT],
    "Unauthenticated": [
        errors.HttpError(401, {"detail": errors.NO_CREDENTIALS}),
        domain_errors.TokenInvalidError(),
    ],
    "Forbidden": [errors.HttpError(403, {"detail": errors.NO_PERMISSION})],
    "NotFound": [domain_errors.NotFoundError()],
    "Conflict": [
        domain_errors.TakenError("slug"),
        domain_errors.IdempotencyKeyInUseError(),
        domain_errors.KeyStateError("The key of this name is disabled. Enable it, delete it, or use another name."),
    ],
    "Gone": [domain_errors.GoneError()],
    "ContentTooLarge": [errors.body_too_large(65_536)],
    "IdempotencyKeyReused": [domain_errors.IdempotencyKeyReusedError()],
    "InternalError": [errors.internal_error("dfa8531226e6d9320e0411770b1ba1db")],
    "ServiceUnavailable": [domain_errors.BusyError(), domain_errors.UnavailableError()],
}
"""Errors whose bodies are constants, by the component of their response."""


def _contents() -> Iterator[tuple[str, dict[str, Any]]]:
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            yield f"{operation['operationId']} {status}", resolved(response).get("content", {})
        yield operation["operationId"], operation.get("requestBody", {}).get("content", {})


def test_every_example_is_valid() -> None:
    """Bodies of requests and responses, and parameters, by their documented schemas."""
    examples_checked = 0
    for where, content in _contents():
        for media_type in content.values():
            for example in media_type.get("examples", {}).values():
                assert list(validator(media_type["schema"]).iter_errors(example["value"])) == [], where
                examples_checked += 1
    assert examples_checked > 100
    for parameter in OPENAPI["components"]["parameters"].values():
        validator(parameter["schema"]).validate(parameter["example"])


def test_the_service_accepts_the_examples_of_requests() -> None:
    """Each operation with a body has some."""
    for _, _, operation in operations():
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            body = BODIES[content["schema"]["$ref"].rpartition("/")[2]]()
            assert content["examples"]
            for example in content["examples"].values():
                schemas.load(body, example["value"])


@pytest.mark.parametrize(("name", "body"), _RESPONSES.items())
def test_the_example_of_a_response_is_what_the_service_responds(name: str, body: dict[str, Any]) -> None:
    """With the same members in the same order, all of them documented."""
    [example] = SCHEMAS[name]["examples"]
    assert orjson.dumps(example) == orjson.dumps(body)
    validator(SCHEMAS[name], closed=True).validate(body)
    optional = ["expiresAt"] if name == "Key" else []
    assert list(SCHEMAS[name]["properties"]) == [*body, *optional]
    assert SCHEMAS[name]["required"] == list(body), "the service always writes these members"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Key", {"rateLimit": None}),
        ("Key", {"expiresAt": "2030-01-31T12:00:00Z"}),
        ("Organization", {"ingestUrl": "https://relay.example.com"}),
    ],
)
def test_the_schema_of_a_response_allows_both_kinds_of_value(name: str, change: dict[str, Any]) -> None:
    """Null and the other type."""
    validator(SCHEMAS[name], closed=True).validate({**_RESPONSES[name], **change})


def test_the_schema_of_every_successful_response_has_an_example() -> None:
    """Of the component, or of the items of an array."""
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            if int(status) < 300 and "application/json" in response.get("content", {}):
                schema = response["content"]["application/json"]["schema"]
                name = (schema.get("items") or schema)["$ref"].rpartition("/")[2]
                assert name in _RESPONSES


@pytest.mark.parametrize(("name", "expected"), _ERRORS.items())
def test_the_examples_of_an_error_are_the_bodies_of_the_service(
    name: str, expected: list[domain_errors.ProjectKeyError | errors.HttpError]
) -> None:
    """As far as they are constants."""
    content = OPENAPI["components"]["responses"][name]["content"]["application/json"]
    bodies = [
        error.body if isinstance(error, errors.HttpError) else errors.from_domain_error(error).body
        for error in expected
    ]
    assert [example["value"] for example in content["examples"].values()] == bodies
