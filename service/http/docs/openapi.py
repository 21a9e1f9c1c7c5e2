"""The OpenAPI 3.1 document: the route table, the schemas that check the bodies, and what `operations` says."""

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

from service.http.docs.components import HEADERS, ON_EVERY_ANSWER, PARAMETERS, Header
from service.http.docs.descriptions import INTRODUCTION, TAGS
from service.http.docs.error_responses import FIELD_MISTAKES, FIELD_MISTAKES_SCHEMA, REFUSALS, Refused
from service.http.docs.field_schemas import describe
from service.http.docs.form_schemas import form_of
from service.http.docs.operations import OPERATIONS, Operation
from service.http.routes import RESOURCES, Resource

Json = dict[str, Any]

_JSON: Final = "application/json"
_EVERYWHERE: Final = (401, 403, 404, 406, 429, 500, 503)
_WITH_BODY: Final = (400, 408, 413, 415)
_WITH_IDEMPOTENCY_KEY: Final = (400, 409, 410, 422)
_SUCCESS: Final = {200: "Done.", 201: "Made.", 204: "Deleted."}
_READS: Final = frozenset({"GET"})


@cache
def api_document() -> Json:
    """The document, as JSON can write it; not to be changed."""
    plugin = MarshmallowPlugin(schema_name_resolver=_name_of)
    spec = APISpec(
        "projectkeys: the API",
        version("projectkeys"),
        "3.1.0",
        plugins=[plugin],
        info={
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        servers=[{"url": "/"}],
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        externalDocs={"description": "The events", "url": "/docs/events"},
    )
    assert isinstance(plugin.converter, OpenAPIConverter), "the specification has set the plugin up"
    plugin.converter.add_attribute_function(describe)
    _add_components(spec)
    for resource in RESOURCES:
        spec.path(resource.path, operations=_operations(resource))
    return spec.to_dict()


def _name_of(schema: Any) -> str:
    name: str = resolve_schema_cls(schema).__name__  # type: ignore[union-attr]  # -- never a list: none is given
    return name.removesuffix("Answer").removesuffix("Body")


def _add_components(spec: APISpec) -> None:
    spec.components.security_scheme(
        "token",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `projectkeys token create`. A higher scope implies the lower ones.",
        },
    )
    spec.components.schema(FIELD_MISTAKES, dict(FIELD_MISTAKES_SCHEMA))
    for body in (operation.body for operation in OPERATIONS.values() if operation.body is not None):
        name = _name_of(body)
        spec.components.schema(name, schema=body)
        spec.components.schema(f"{name}Form", form_of(spec.components.schemas[name]))
    for name, parameter in PARAMETERS.items():
        spec.components.parameter(
            name,
            parameter.where,
            {"description": parameter.description, "schema": parameter.schema, "example": parameter.example},
        )
    for name, header in HEADERS.items():
        spec.components.header(name, _header(header))
    for error_response in REFUSALS.values():
        spec.components.response(error_response.name, _refusal(error_response))


def _header(header: Header) -> Json:
    return {"description": header.description, "schema": header.schema, "required": header.always}


def _refusal(error_response: Refused) -> Json:
    return {
        "description": error_response.description,
        "headers": _headers(*error_response.headers),
        "content": {_JSON: {"schema": error_response.schema, "examples": _examples(error_response.examples)}},
    }


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*ON_EVERY_ANSWER, *names)}


def _examples(values: Mapping[str, Any]) -> Json:
    return {name.replace(" ", "-"): {"summary": name, "value": value} for name, value in values.items()}


def _operations(resource: Resource) -> Json:
    return {
        method.lower(): _operation(resource, method, OPERATIONS[handler])
        for method, handler in resource.methods.items()
        if handler in OPERATIONS
    }


def _operation(resource: Resource, method: str, operation: Operation) -> Json:
    written: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": [{"token": scopes} for scopes in _least(resource.scopes.get(method, ()))],
        "parameters": [*_in_path(resource.path), *operation.parameters, "X-Request-Id"],
        "responses": {
            str(operation.success): _success(resource, operation),
            **{str(status): REFUSALS[status].name for status in _refused(resource, method, operation)},
        },
    }
    if operation.body is not None:
        written["requestBody"] = _body(operation, operation.body())
    return written


def _least(scopes: tuple[str, ...]) -> list[list[str]]:
    """The lowest scope of each noun, which the higher ones imply; any one of them will do."""
    by_noun = {scope.partition(":")[0]: [scope] for scope in reversed(scopes)}
    return list(by_noun.values()) or [[]]


def _in_path(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _body(operation: Operation, schema: Schema) -> Json:
    form = {"schema": f"{_name_of(schema)}Form"}
    return {
        "required": any(field.required for field in schema.fields.values()),
        "content": {
            _JSON: {"schema": schema, "examples": _examples(operation.asked or {})},
            "application/x-www-form-urlencoded": form,
            "multipart/form-data": form,
        },
    }


def _success(resource: Resource, operation: Operation) -> Json:
    written: Json = {
        "description": _SUCCESS[operation.success],
        "headers": _headers("Allow", *operation.headers),
    }
    if operation.answer is not None:
        schema = operation.answer(many=operation.many)
        written["content"] = {_JSON: {"schema": schema, "example": operation.answered}}
    if operation.makes is not None:
        written["links"] = dict(_links(resource, operation.makes))
    return written


def _links(resource: Resource, made: str) -> Iterator[tuple[str, Json]]:
    """What can be done with what was just made."""
    own = _in_path(resource.path)
    names = [*own, made]
    values = {name: f"$request.path.{name}" for name in own} | {made: "$response.body#/id"}
    for other in RESOURCES:
        if _in_path(other.path) == names:
            for handler in other.methods.values():
                if handler in OPERATIONS:
                    name = OPERATIONS[handler].id
                    yield name, {"operationId": name, "parameters": values}


def _refused(resource: Resource, method: str, operation: Operation) -> list[int]:
    statuses = {*_EVERYWHERE, *operation.also}
    if operation.body is not None:
        statuses.update(_WITH_BODY)
    if "Idempotency-Key" in operation.parameters:
        statuses.update(_WITH_IDEMPOTENCY_KEY)
    if any(PARAMETERS[name].where == "query" for name in operation.parameters):
        statuses.add(400)
    names = _in_path(resource.path)
    if "project" in names:
        statuses.add(302 if method in _READS else 308)
    return sorted(statuses)
