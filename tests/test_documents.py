"""The OpenAPI document: valid, of the routes that there are and of no others, and true of every answer."""

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
from service.http.docs import examples
from service.http.docs import response_schemas as answers
from service.http.docs.operations import OPERATIONS
from service.http.errors import HttpError
from service.http.forms import parse_form
from service.http.routes import RESOURCES
from tests.openapi import DOCUMENTED, operations, resolved, validator


def test_the_document_is_openapi() -> None:
    """By the official schema of version 3.1."""
    assert DOCUMENTED["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(DOCUMENTED).validate()


def test_a_wrong_document_is_found() -> None:
    """The official schema looks into what we fill."""
    wrong = {**DOCUMENTED, "paths": {"/x/{y}/": {"get": {"responses": {"200": {}}}}}}
    assert list(OpenAPIV31SpecValidator(wrong).iter_errors())


def test_routes_and_document_agree() -> None:
    """Every method of every path is there, and nothing else; each under a name of its own."""
    routed = {(one.path, method.lower()) for one in RESOURCES for method in one.methods}
    assert {(path, method) for path, method, _ in operations()} == routed
    assert set(OPERATIONS) == {handler for one in RESOURCES for handler in one.methods.values()}
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_each_operation_names_what_is_in_its_path_and_what_it_needs() -> None:
    """The path's parameters; the lowest scopes of those that will do."""
    by_path = {one.path: one for one in RESOURCES}
    for path, method, operation in operations():
        parameters = [resolved(one) for one in operation["parameters"]]
        in_path = [one["name"] for one in parameters if one["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
        named = {scope for need in operation["security"] for scope in need["token"]}
        enough = set(by_path[path].scopes.get(method.upper(), ()))
        assert named <= enough
        assert {scope.partition(":")[0] for scope in named} == {scope.partition(":")[0] for scope in enough}


def test_every_member_and_every_parameter_is_explained() -> None:
    """No schema has a member without a description."""
    silent = [
        f"{name}.{member}"
        for name, schema in DOCUMENTED["components"]["schemas"].items()
        for member, what in schema.get("properties", {}).items()
        if not what.get("description")
    ]
    assert silent == []
    assert all(one["description"] for one in DOCUMENTED["components"]["parameters"].values())


def _contents() -> Iterator[tuple[str, dict[str, Any]]]:
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            yield f"{operation['operationId']} {status}", resolved(response).get("content", {})
        yield operation["operationId"], operation.get("requestBody", {}).get("content", {})


def test_every_example_is_valid() -> None:
    """Bodies and answers, by the schemas beside them; bodies also by the schemas that check them."""
    seen = 0
    for where, content in _contents():
        for kind in content.values():
            values = [one["value"] for one in kind.get("examples", {}).values()]
            values += [kind["example"]] if "example" in kind else []
            for value in values:
                assert list(validator(kind["schema"]).iter_errors(value)) == [], where
                seen += 1
    assert seen > 100
    for operation in OPERATIONS.values():
        for value in (operation.asked or {}).values():
            assert operation.body is not None
            schemas.load(operation.body(), value)
    for parameter in DOCUMENTED["components"]["parameters"].values():
        validator(parameter["schema"]).validate(parameter["example"])


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        (answers.KeyAnswer(), examples.KEY),
        (answers.KeyAnswer(), {**examples.KEY, "rateLimit": None}),
        (answers.ProjectAnswer(), examples.PROJECT),
        (answers.OrganizationAnswer(), examples.ORGANIZATION),
        (answers.OrganizationAnswer(), {**examples.ORGANIZATION, "ingestUrl": "https://relay.example.com"}),
        (answers.AuditAnswer(), examples.AUDIT),
    ],
)
def test_what_is_written_is_what_is_documented(schema: Schema, written: dict[str, Any]) -> None:
    """The handlers write plain dictionaries: the same members in the same order as the documented schemas."""
    dumped = schema.dump(schema.load(written))
    assert orjson.dumps(dumped) == orjson.dumps(written)


def _bodies() -> list[tuple[str, dict[str, Any], Schema]]:
    return [
        (operation["operationId"], operation["requestBody"]["content"], body())
        for path, method, operation in operations()
        for one in RESOURCES
        if one.path == path and (body := OPERATIONS[one.methods[method.upper()]].body) is not None
    ]


_SAMPLES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 1.0, 1.5, 60, 86_400, 86_401, 2**31 - 1, 2**31, 2**70),
    *("", "x", "10", "01", "yes", "ON", "maybe", "10.x", "user", "web-1", "12", "Web 1", "-", "a\x00b"),
    *("a" * 32, "A" * 32, "a" * 64, "a" * 65, "https://relay.example.com", "https://x/", "ftp://x"),
    *({"window": 1, "count": 1}, {"window": 1}, {"count": None, "window": ""}, {"window": "a", "count": 1}),
    *({"hasReplay": "off"}, {"hasReplay": None}, {"other": 1}, {}, [], ["hasDebug"]),
]


def _accepts(body: Schema, sent: Any) -> bool:
    try:
        schemas.load(body, sent)
    except HttpError:
        return False
    return True


def _least(operation: str) -> dict[str, Any]:
    """What a body has to have."""
    return {"name": "Web", "slug": "web"} if operation in {"createOrganization", "createProject"} else {}


@pytest.mark.parametrize(("operation", "content", "body"), _bodies())
def test_the_document_accepts_what_the_service_accepts(
    operation: str, content: dict[str, Any], body: Schema
) -> None:
    """Member by member, over values of every kind: neither promises what the other refuses."""
    schema = content["application/json"]["schema"]
    documented = validator(schema)
    for member in resolved(schema)["properties"]:
        for value in _SAMPLES:
            sent = {**_least(operation), member: value}
            assert documented.is_valid(sent) == _accepts(body, sent), sent


@pytest.mark.parametrize(("operation", "content", "body"), _bodies())
def test_the_document_accepts_the_forms_that_the_service_accepts(
    operation: str, content: dict[str, Any], body: Schema
) -> None:
    """Field by field: what a text says is what is documented, as a text or as the number that it writes."""
    schema = content["application/x-www-form-urlencoded"]["schema"]
    documented = validator(schema)
    assert schema == content["multipart/form-data"]["schema"]
    for field in resolved(schema)["properties"]:
        others = {"rateLimit.count": "1", "rateLimit.window": "1"} if field.startswith("rateLimit.") else {}
        least = {**_least(operation), **others}
        assert documented.is_valid(least)
        assert not documented.is_valid({**least, field: None}), "there is no null in a form"
        for text in {str(one) for one in _SAMPLES if isinstance(one, str | int)}:
            sent = {**least, field: text}
            readings = [text, int(text)] if re.fullmatch("-?(0|[1-9][0-9]*)", text) else [text]
            is_documented = any(documented.is_valid({**sent, field: one}) for one in readings)
            assert is_documented == _accepts(body, parse_form(urlencode(sent).encode())), sent


@given(
    st.from_regex(
        DOCUMENTED["components"]["schemas"]["NewOrganization"]["properties"]["ingestUrl"]["pattern"]
    )
)
@settings(deadline=None, max_examples=100)
def test_the_documented_addresses_are_addresses(url: str) -> None:
    """The pattern says in one line what the domain checks in several."""
    text = url.removesuffix("\n")
    assert text == "" or is_base_url(text) or len(text) > 200
