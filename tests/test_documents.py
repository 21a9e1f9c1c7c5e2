"""The OpenAPI document: valid, with exactly the routes of the service, and equal to what its fields accept."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import Schema
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.domain.dsn import is_base_url
from service.http import schemas
from service.http.docs import examples, response_schemas
from service.http.docs.operations import OPERATIONS
from service.http.errors import HttpError
from service.http.forms import parse_form
from service.http.routes import RESOURCES
from tests.openapi import OPENAPI, operations, resolved, validator


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
    assert set(OPERATIONS) == {handler for resource in RESOURCES for handler in resource.methods.values()}
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_each_operation_has_its_path_parameters_and_required_scopes() -> None:
    """Of the scopes of which one is required, the lowest for each kind of resource."""
    resources = {resource.path: resource for resource in RESOURCES}
    for path, method, operation in operations():
        parameters = [resolved(parameter) for parameter in operation["parameters"]]
        in_path = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
        documented = {scope for option in operation["security"] for scope in option["token"]}
        sufficient = set(resources[path].scopes.get(method.upper(), ()))
        assert documented <= sufficient
        kinds = [{scope.partition(":")[0] for scope in scopes} for scopes in (documented, sufficient)]
        assert kinds[0] == kinds[1]


def test_every_member_and_every_parameter_has_a_description() -> None:
    """In the schemas of requests, responses and errors."""
    undescribed = [
        f"{name}.{member}"
        for name, schema in OPENAPI["components"]["schemas"].items()
        for member, member_schema in schema.get("properties", {}).items()
        if not member_schema.get("description")
    ]
    assert undescribed == []
    assert all(parameter["description"] for parameter in OPENAPI["components"]["parameters"].values())


def _contents() -> Iterator[tuple[str, dict[str, Any]]]:
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            yield f"{operation['operationId']} {status}", resolved(response).get("content", {})
        yield operation["operationId"], operation.get("requestBody", {}).get("content", {})


def test_every_example_is_valid() -> None:
    """Bodies of requests and responses, by their documented schemas; requests also by the service's."""
    examples_checked = 0
    for where, content in _contents():
        for media_type in content.values():
            values = [example["value"] for example in media_type.get("examples", {}).values()]
            values += [media_type["example"]] if "example" in media_type else []
            for value in values:
                assert list(validator(media_type["schema"]).iter_errors(value)) == [], where
                examples_checked += 1
    assert examples_checked > 100
    for operation in OPERATIONS.values():
        for value in (operation.request_examples or {}).values():
            assert operation.request is not None
            schemas.load(operation.request(), value)
    for parameter in OPENAPI["components"]["parameters"].values():
        validator(parameter["schema"]).validate(parameter["example"])


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        (response_schemas.Key(), examples.KEY),
        (response_schemas.Key(), {**examples.KEY, "rateLimit": None}),
        (response_schemas.Project(), examples.PROJECT),
        (response_schemas.Organization(), examples.ORGANIZATION),
        (
            response_schemas.Organization(),
            {**examples.ORGANIZATION, "ingestUrl": "https://relay.example.com"},
        ),
        (response_schemas.AuditPage(), examples.AUDIT),
    ],
)
def test_responses_have_the_documented_members(schema: Schema, example: dict[str, Any]) -> None:
    """The handlers write dictionaries with the members of the schemas, in the same order."""
    dumped = schema.dump(schema.load(example))
    assert orjson.dumps(dumped) == orjson.dumps(example)


def _bodies() -> list[tuple[str, dict[str, Any], schemas.Body[Any]]]:
    return [
        (operation["operationId"], operation["requestBody"]["content"], body())
        for path, method, operation in operations()
        for resource in RESOURCES
        if resource.path == path
        and (body := OPERATIONS[resource.methods[method.upper()]].request) is not None
    ]


_SAMPLES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 1.0, 1.5, 60, 86_400, 86_401, 2**31 - 1, 2**31, 2**70),
    *("", "x", "10", "01", "yes", "ON", "maybe", "10.x", "user", "web-1", "12", "Web 1", "-", "a\x00b"),
    *("a" * 32, "A" * 32, "a" * 64, "a" * 65, "https://relay.example.com", "https://x/", "ftp://x"),
    *({"window": 1, "count": 1}, {"window": 1}, {"count": None, "window": ""}, {"window": "a", "count": 1}),
    *({"hasReplay": "off"}, {"hasReplay": None}, {"other": 1}, {}, [], ["hasDebug"]),
]


def _accepts(body: schemas.Body[Any], value: Any) -> bool:
    try:
        schemas.load(body, value)
    except HttpError:
        return False
    return True


def _required_members(operation: str) -> dict[str, Any]:
    """Return the members that a body must have."""
    return {"name": "Web", "slug": "web"} if operation in {"createOrganization", "createProject"} else {}


@pytest.mark.parametrize(("operation", "content", "body"), _bodies())
def test_the_document_accepts_what_the_service_accepts(
    operation: str, content: dict[str, Any], body: schemas.Body[Any]
) -> None:
    """Each member, with values of every type."""
    schema = content["application/json"]["schema"]
    document = validator(schema)
    for member in resolved(schema)["properties"]:
        for value in _SAMPLES:
            body_value = {**_required_members(operation), member: value}
            assert document.is_valid(body_value) == _accepts(body, body_value), body_value


@pytest.mark.parametrize(("operation", "content", "body"), _bodies())
def test_the_document_accepts_the_forms_that_the_service_accepts(
    operation: str, content: dict[str, Any], body: schemas.Body[Any]
) -> None:
    """Each field: its text, or the number that it contains, is valid if the service accepts it."""
    schema = content["application/x-www-form-urlencoded"]["schema"]
    document = validator(schema)
    assert schema == content["multipart/form-data"]["schema"]
    for field in resolved(schema)["properties"]:
        others = {"rateLimit.count": "1", "rateLimit.window": "1"} if field.startswith("rateLimit.") else {}
        required = {**_required_members(operation), **others}
        assert document.is_valid(required)
        assert not document.is_valid({**required, field: None}), "a form has no null"
        for text in {str(sample) for sample in _SAMPLES if isinstance(sample, str | int)}:
            body_value = {**required, field: text}
            values = [text, int(text)] if re.fullmatch("-?(0|[1-9][0-9]*)", text) else [text]
            is_documented = any(document.is_valid({**body_value, field: value}) for value in values)
            assert is_documented == _accepts(body, parse_form(urlencode(body_value).encode())), body_value


@given(
    st.from_regex(OPENAPI["components"]["schemas"]["NewOrganization"]["properties"]["ingestUrl"]["pattern"])
)
@settings(deadline=None, max_examples=100)
def test_the_documented_pattern_accepts_only_base_urls(url: str) -> None:
    """By the domain's check."""
    text = url.removesuffix("\n")
    assert text == "" or is_base_url(text) or len(text) > 200
