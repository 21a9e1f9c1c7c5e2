"""Access to the OpenAPI document for tests."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from service.http.docs.swagger_page import openapi_document

OPENAPI = openapi_document()
SCHEMAS: dict[str, Any] = OPENAPI["components"]["schemas"]
_METHODS = {"get", "put", "post", "delete"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the document of each operation."""
    for path, item in OPENAPI["paths"].items():
        for method in sorted(_METHODS & set(item)):
            yield path, method, item[method]


def path_parameters(path: str) -> list[str]:
    """Return the names of the parameters in a path, in their order."""
    return re.findall(r"{(\w+)}", path)


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """Return the component that ``value`` references, or ``value`` itself."""
    if "$ref" not in value:
        return value
    target: Any = OPENAPI
    for step in value["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return dict(target)


def validator(schema: Mapping[str, Any], *, closed: bool = False) -> Draft202012Validator:
    """Return a validator for one of the document's schemas, formats included.

    If it is ``closed``, objects have no other members than those in the document, which allows further ones.
    """
    document = {**schema, "components": OPENAPI["components"]}
    return Draft202012Validator(
        _closed(document) if closed else document, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {name: _closed(member) for name, member in value.items()}
    return members | ({"additionalProperties": False} if "properties" in value else {})
