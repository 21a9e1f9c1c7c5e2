"""The OpenAPI 3.1 document, built from the route table, the schemas of the bodies and `operations`."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema

from service.http.docs.components import HEADERS, ON_EVERY_RESPONSE, PARAMETERS, Header
from service.http.docs.descriptions import INTRODUCTION, TAGS
from service.http.docs.error_responses import (
    ERROR_RESPONSES,
    VALIDATION_ERRORS,
    VALIDATION_ERRORS_SCHEMA,
    ErrorResponse,
)
from service.http.docs.field_schemas import describe_field, form_schema
from service.http.docs.operations import OPERATIONS, Operation
from service.http.routes import RESOURCES, Resource
from service.http.schemas import Body

Json = dict[str, Any]

_JSON: Final = "application/json"
_ERRORS_OF_ALL: Final = (401, 403, 404, 406, 429, 500, 503)
_ERRORS_WITH_BODY: Final = (400, 408, 413, 415)
_ERRORS_WITH_IDEMPOTENCY_KEY: Final = (400, 409, 410, 422)
_SUCCESS: Final = {200: "Success.", 201: "Created.", 204: "Deleted."}


@cache
def api_document(path_prefix: str = "") -> Json:
    """Return the document, a JSON object that callers must not change.

    ``path_prefix`` is that of `ServerState`.
    """
    plugin = MarshmallowPlugin(schema_name_resolver=_component_name)
    spec = APISpec(
        "projectkeys API",
        version("projectkeys"),
        "3.1.0",
        plugins=[plugin],
        info={
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        servers=[{"url": path_prefix or "/"}],
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        externalDocs={"description": "Events", "url": "../../docs/events"},
    )
    assert isinstance(plugin.converter, OpenAPIConverter), "APISpec initializes its plugins"
    plugin.converter.add_attribute_function(describe_field)
    _add_components(spec)
    for resource in RESOURCES:
        spec.path(resource.path, operations=_operations(resource))
    _describe_responses(spec, plugin.converter)
    return spec.to_dict()


def _describe_responses(spec: APISpec, converter: OpenAPIConverter) -> None:
    """Set the descriptions of response schemas, and allow further members, which later releases can add."""
    for (schema, *_), name in converter.refs.items():
        if not issubclass(schema, Body):
            component = spec.components.schemas[name]
            component["description"] = schema.__doc__
            component.pop("additionalProperties", None)


def _component_name(schema: Any) -> str:
    name: str = resolve_schema_cls(schema).__name__  # type: ignore[union-attr]  # -- a list is never passed
    return name.removesuffix("Body")


def _add_components(spec: APISpec) -> None:
    spec.components.security_scheme(
        "token",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from `projectkeys token create`. A higher scope includes the lower ones.",
        },
    )
    spec.components.schema(VALIDATION_ERRORS, dict(VALIDATION_ERRORS_SCHEMA))
    for operation in OPERATIONS.values():
        if operation.request is not None:
            name = _component_name(operation.request)
            spec.components.schema(name, schema=operation.request)
            spec.components.schema(f"{name}Form", form_schema(spec.components.schemas[name]))
    for name, parameter in PARAMETERS.items():
        spec.components.parameter(
            name,
            parameter.location,
            {
                "name": parameter.name or name,
                "description": parameter.description,
                "schema": parameter.schema,
                "example": parameter.example,
            },
        )
    for name, header in HEADERS.items():
        spec.components.header(name, _header(header))
    for error in ERROR_RESPONSES.values():
        spec.components.response(error.name, _error_response(error))


def _header(header: Header) -> Json:
    return {"description": header.description, "schema": header.schema, "required": header.always}


def _error_response(error: ErrorResponse) -> Json:
    return {
        "description": error.description,
        "headers": _headers(*error.headers),
        "content": {_JSON: {"schema": error.schema, "examples": _examples(error.examples)}},
    }


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*ON_EVERY_RESPONSE, *names)}


def _examples(values: Mapping[str, Any]) -> Json:
    return {name.replace(" ", "-"): {"summary": name, "value": value} for name, value in values.items()}


def _operations(resource: Resource) -> Json:
    return {
        method.lower(): _operation(resource, method, OPERATIONS[handler])
        for method, handler in resource.methods.items()
        if handler in OPERATIONS
    }


def _operation(resource: Resource, method: str, operation: Operation) -> Json:
    document: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": [{"token": scopes} for scopes in _lowest_scopes(resource.scopes.get(method, ()))],
        "parameters": [*_path_parameters(resource.path), *operation.parameters, "X-Request-Id"],
        "responses": {
            str(operation.success): _success(resource, operation),
            **{
                str(status): ERROR_RESPONSES[status].name
                for status in _error_statuses(resource, method, operation)
            },
        },
    }
    if operation.request is not None:
        document["requestBody"] = _request_body(operation, operation.request())
    return document


def _lowest_scopes(scopes: tuple[str, ...]) -> list[list[str]]:
    """Return the lowest scope of each kind of resource as alternatives; a higher scope includes it."""
    by_resource = {scope.partition(":")[0]: [scope] for scope in reversed(scopes)}
    return list(by_resource.values()) or [[]]


def _path_parameters(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _request_body(operation: Operation, schema: Schema) -> Json:
    form = {"schema": f"{_component_name(schema)}Form"}
    return {
        "required": any(field.required for field in schema.fields.values()),
        "content": {
            _JSON: {"schema": schema, "examples": _examples(operation.request_examples or {})},
            "application/x-www-form-urlencoded": form,
            "multipart/form-data": form,
        },
    }


def _success(resource: Resource, operation: Operation) -> Json:
    response: Json = {
        "description": _SUCCESS[operation.success],
        "headers": _headers("Allow", *operation.response_headers),
    }
    if operation.response is not None:
        schema = operation.response(many=operation.many)
        response["content"] = {_JSON: {"schema": schema, "example": operation.response_example}}
    if operation.creates is not None:
        response["links"] = dict(_links(resource, operation.creates))
    return response


def _links(resource: Resource, created: str) -> Iterator[tuple[str, Json]]:
    """Yield the operations on the created resource, whose path parameter is ``created``."""
    parameters = _path_parameters(resource.path)
    names = [*parameters, created]
    values = {name: f"$request.path.{name}" for name in parameters} | {created: "$response.body#/id"}
    for other in RESOURCES:
        if _path_parameters(other.path) == names:
            for handler in other.methods.values():
                if handler in OPERATIONS:
                    name = OPERATIONS[handler].id
                    yield name, {"operationId": name, "parameters": values}


def _error_statuses(resource: Resource, method: str, operation: Operation) -> list[int]:
    statuses = {*_ERRORS_OF_ALL, *operation.errors}
    if operation.request is not None:
        statuses.update(_ERRORS_WITH_BODY)
    if "Idempotency-Key" in operation.parameters:
        statuses.update(_ERRORS_WITH_IDEMPOTENCY_KEY)
    if any(PARAMETERS[name].location == "query" for name in operation.parameters):
        statuses.add(400)
    if "project" in _path_parameters(resource.path):
        statuses.add(302 if method == "GET" else 308)
    return sorted(statuses)
