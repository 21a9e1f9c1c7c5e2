"""Access to the OpenAPI document for tests."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from service.http.docs.openapi import api_document

OPENAPI = api_document()
_METHODS = {"get", "put", "post", "delete"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the document of each operation."""
    for path, item in OPENAPI["paths"].items():
        for method in sorted(_METHODS & set(item)):
            yield path, method, item[method]


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """Return the component that ``value`` references, or ``value`` itself."""
    if "$ref" not in value:
        return value
    target: Any = OPENAPI
    for step in value["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return dict(target)


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return a validator for one of the document's schemas, formats included."""
    document = {**schema, "components": OPENAPI["components"]}
    return Draft202012Validator(document, format_checker=Draft202012Validator.FORMAT_CHECKER)
