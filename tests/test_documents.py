"""The OpenAPI document: valid, with exactly the operations, scopes and errors of the service."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.domain.audit import ACTIONS
from service.domain.model import BROWSER_SDK_VERSIONS, MAX_BIGINT
from service.http.routes import RESOURCES
from tests.openapi import OPENAPI, SCHEMAS, operations, path_parameters, resolved

_ON_EVERY_RESPONSE = {
    "X-Request-Id",
    *(
        f"X-Sentry-Rate-Limit-{name}"
        for name in ("Limit", "Remaining", "Reset", "ConcurrentLimit", "ConcurrentRemaining")
    ),
}
_ERRORS = {401, 403, 404, 406, 429, 500, 503}
_ERRORS_WITH_BODY = {400, 408, 413, 415}
_ERRORS_WITH_IDEMPOTENCY_KEY = {400, 409, 410, 422}
_FURTHER_ERRORS = {"updateProject": {409}, "getOrCreateKey": {409}}
"""By operation id."""

_SUCCESSES = {"getOrCreateKey": {200, 201}}
"""By operation id; other operations have one status of success."""

_EVENT_HEADERS = {"Event-Id", "Event-Status", "Preference-Applied"}
_OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"]) for path, method, operation in operations()
]
_each_operation = pytest.mark.parametrize(("path", "method", "operation"), _OPERATIONS)


def test_the_document_is_valid_openapi() -> None:
    """By the official schema of version 3.1."""
    assert OPENAPI["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(OPENAPI).validate()


def test_the_official_schema_rejects_a_wrong_document() -> None:
    """It checks the parts that the service fills."""
    wrong = {**OPENAPI, "paths": {"/x/{y}/": {"get": {"responses": {"200": {}}}}}}
    assert list(OpenAPIV31SpecValidator(wrong).iter_errors())


def test_the_document_has_exactly_the_routes() -> None:
    """Every method of every path, with a unique operation id."""
    routed = {(resource.path, method.lower()) for resource in RESOURCES for method in resource.methods}
    assert {(path, method) for path, method, _ in operations()} == routed
    assert set(OPENAPI["paths"]) == {resource.path for resource in RESOURCES}
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


def _parameters(operation: dict[str, Any], location: str) -> list[str]:
    """Return the names of the operation's parameters in a location."""
    parameters = [resolved(parameter) for parameter in operation["parameters"]]
    return [parameter["name"] for parameter in parameters if parameter["in"] == location]


@_each_operation
def test_an_operation_has_the_parameters_of_its_path(path: str, method: str, operation: dict[str, Any]) -> None:
    """And the request's id."""
    del method
    assert _parameters(operation, "path") == path_parameters(path)
    assert "X-Request-Id" in _parameters(operation, "header")


@_each_operation
def test_an_operation_has_the_required_scopes(path: str, method: str, operation: dict[str, Any]) -> None:
    """Of the scopes of which one is required, the lowest of each kind of resource: a higher scope includes it."""
    [resource] = [resource for resource in RESOURCES if resource.path == path]
    sufficient = resource.scopes.get(method.upper(), ())
    lowest = {scope.partition(":")[0]: scope for scope in reversed(sufficient)}
    documented = [option["token"] for option in operation["security"]]
    assert documented == ([[scope] for scope in lowest.values()] or [[]])


@_each_operation
def test_an_operation_has_exactly_the_errors_that_it_can_give(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    """Beside those of every operation, those of its body, parameters and path; each status has one component."""
    expected = _ERRORS | _FURTHER_ERRORS.get(operation["operationId"], set())
    if "requestBody" in operation:
        expected |= _ERRORS_WITH_BODY
    if "Idempotency-Key" in _parameters(operation, "header"):
        expected |= _ERRORS_WITH_IDEMPOTENCY_KEY
    if set(_parameters(operation, "query")) - {"project"}:  # an unknown project is 404
        expected |= {400}
    if "project" in path_parameters(path):
        expected |= {302 if method == "get" else 308}
    documented = {int(status): response for status, response in operation["responses"].items()}
    errors = {status: response for status, response in documented.items() if status >= 300}
    assert set(errors) == expected
    assert documented.keys() - errors.keys() == _SUCCESSES.get(operation["operationId"], {min(documented)})
    for status, response in errors.items():
        assert response == _ERROR_RESPONSES[status]


_ERROR_RESPONSES = {
    status: {"$ref": f"#/components/responses/{name}"}
    for status, name in {
        302: "Found",
        308: "PermanentRedirect",
        400: "BadRequest",
        401: "Unauthenticated",
        403: "Forbidden",
        404: "NotFound",
        406: "NotAcceptable",
        408: "RequestTimeout",
        409: "Conflict",
        410: "Gone",
        413: "ContentTooLarge",
        415: "UnsupportedMediaType",
        422: "IdempotencyKeyReused",
        429: "TooManyRequests",
        500: "InternalError",
        503: "ServiceUnavailable",
    }.items()
}


@_each_operation
def test_an_operation_has_the_headers_of_its_parameters(path: str, method: str, operation: dict[str, Any]) -> None:
    """Idempotency keys, `Prefer` and pages each have response headers; some headers are on every response."""
    del path, method
    expected = {*_ON_EVERY_RESPONSE, "Allow"}
    if "Idempotency-Key" in _parameters(operation, "header"):
        expected |= {"Idempotent-Replayed"}
    if "Prefer" in _parameters(operation, "header"):
        expected |= _EVENT_HEADERS
    if "cursor" in _parameters(operation, "query"):
        expected |= {"Link"}
    for status, response in operation["responses"].items():
        headers = resolved(response)["headers"]
        assert headers == {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
        assert set(headers) == expected if int(status) < 300 else set(headers) >= _ON_EVERY_RESPONSE


@_each_operation
def test_a_created_resource_has_links_to_its_operations(path: str, method: str, operation: dict[str, Any]) -> None:
    """To every operation whose path has the parameters of what it belongs to, and its own."""
    del method
    links = operation["responses"].get("201", {}).get("links", {})
    assert bool(links) == ("201" in operation["responses"])
    own = [name for name in path_parameters(path) if name not in {"key_id", "key_name", "team"}]
    for name, link in links.items():
        [created] = link["parameters"].keys() - set(own)
        assert link["operationId"] == name
        assert link["parameters"] == {
            **{parameter: f"$request.path.{parameter}" for parameter in own},
            created: "$response.body#/id",
        }
        linked = {
            other["operationId"]
            for other_path, _, other in operations()
            if path_parameters(other_path) == [*own, created]
        }
        assert set(links) == linked


def test_every_member_and_every_parameter_has_a_description() -> None:
    """In the schemas of requests, responses and errors."""
    undescribed = [
        f"{name}.{member}"
        for name, schema in SCHEMAS.items()
        for member, member_schema in schema.get("properties", {}).items()
        if not member_schema.get("description")
    ]
    assert undescribed == []
    assert all(parameter["description"] for parameter in OPENAPI["components"]["parameters"].values())


def test_the_document_has_the_values_of_the_domain() -> None:
    """The events of audit entries, the versions of the browser SDK and the greatest id."""
    assert SCHEMAS["AuditEntry"]["properties"]["event"]["enum"] == list(ACTIONS)
    assert SCHEMAS["Key"]["properties"]["browserSdkVersion"]["enum"] == sorted(BROWSER_SDK_VERSIONS)
    actor = OPENAPI["components"]["parameters"]["actor"]["schema"]
    assert actor["anyOf"][0]["maximum"] == MAX_BIGINT
