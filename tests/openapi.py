"""Reading the OpenAPI document, for the tests that hold the service to it."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from service.http.docs.openapi import api_document

DOCUMENTED = api_document()
_METHODS = {"get", "put", "post", "delete"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each operation with its path and its method."""
    for path, item in DOCUMENTED["paths"].items():
        for method in sorted(_METHODS & set(item)):
            yield path, method, item[method]


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for."""
    if "$ref" not in value:
        return value
    place: Any = DOCUMENTED
    for step in value["$ref"].removeprefix("#/").split("/"):
        place = place[step]
    return dict(place)


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Checks values by one of the document's schemas, formats too."""
    whole = {**schema, "components": DOCUMENTED["components"]}
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
