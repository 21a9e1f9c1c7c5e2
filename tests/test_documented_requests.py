"""The request bodies in the OpenAPI document are those that the service accepts."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.dsn import is_base_url
from service.http import schemas
from service.http.errors import HttpError
from service.http.forms import parse_form
from tests.openapi import SCHEMAS, operations, resolved, validator
from tests.request_schemas import BODIES, body_schema, form_schema, without_descriptions

_REQUESTS = [operation["requestBody"] for _, _, operation in operations() if "requestBody" in operation]


def _component(content: dict[str, Any], media_type: str) -> str:
    return str(content[media_type]["schema"]["$ref"]).removeprefix("#/components/schemas/")


def _bodies() -> list[tuple[str, dict[str, Any], schemas.Body[Any]]]:
    return [
        (name, request["content"], BODIES[name]())
        for request in _REQUESTS
        for name in [_component(request["content"], "application/json")]
    ]


@pytest.mark.parametrize("name", BODIES)
def test_the_schema_of_a_body_equals_that_of_its_fields(name: str) -> None:
    """As JSON and as a form, in which all values are text."""
    assert without_descriptions(SCHEMAS[name]) == body_schema(BODIES[name])
    assert SCHEMAS[f"{name}Form"] == form_schema(SCHEMAS[name])


def test_each_body_belongs_to_an_operation_in_three_media_types() -> None:
    """It is required if one of its members is; two paths create projects."""
    assert sorted(name for name, _, _ in _bodies()) == sorted([*BODIES, "NewProject"])
    for request in _REQUESTS:
        name = _component(request["content"], "application/json")
        for form in ("application/x-www-form-urlencoded", "multipart/form-data"):
            assert _component(request["content"], form) == f"{name}Form"
        assert len(request["content"]) == 3
        assert request["required"] == bool(SCHEMAS[name].get("required"))


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


def _required_members(name: str) -> dict[str, Any]:
    """Return the members that a body must have."""
    return {"name": "Web", "slug": "web"} if name in {"NewOrganization", "NewProject"} else {}


@pytest.mark.parametrize(("name", "content", "body"), _bodies())
def test_the_document_accepts_what_the_service_accepts(
    name: str, content: dict[str, Any], body: schemas.Body[Any]
) -> None:
    """Each member, with values of every type."""
    schema = content["application/json"]["schema"]
    document = validator(schema)
    for member in resolved(schema)["properties"]:
        for value in _SAMPLES:
            body_value = {**_required_members(name), member: value}
            assert document.is_valid(body_value) == _accepts(body, body_value), body_value


@pytest.mark.parametrize(("name", "content", "body"), _bodies())
def test_the_document_accepts_the_forms_that_the_service_accepts(
    name: str, content: dict[str, Any], body: schemas.Body[Any]
) -> None:
    """Each field: its text, or the number that it contains, is valid if the service accepts it."""
    schema = content["application/x-www-form-urlencoded"]["schema"]
    document = validator(schema)
    for field in resolved(schema)["properties"]:
        others = {"rateLimit.count": "1", "rateLimit.window": "1"} if field.startswith("rateLimit.") else {}
        required = {**_required_members(name), **others}
        assert document.is_valid(required)
        assert not document.is_valid({**required, field: None}), "a form has no null"
        for text in {str(sample) for sample in _SAMPLES if isinstance(sample, str | int)}:
            body_value = {**required, field: text}
            values = [text, int(text)] if re.fullmatch("-?(0|[1-9][0-9]*)", text) else [text]
            is_documented = any(document.is_valid({**body_value, field: value}) for value in values)
            assert is_documented == _accepts(body, parse_form(urlencode(body_value).encode())), body_value


@given(st.from_regex(SCHEMAS["NewOrganization"]["properties"]["ingestUrl"]["pattern"]))
@settings(deadline=None, max_examples=100)
def test_the_documented_pattern_accepts_only_base_urls(url: str) -> None:
    """By the domain's check."""
    text = url.removesuffix("\n")
    assert text == "" or is_base_url(text) or len(text) > 200
