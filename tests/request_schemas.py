"""JSON Schemas of request bodies, derived from their fields: each accepts exactly the values of its field."""

import re
from collections.abc import Mapping
from functools import singledispatch
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import fields

from service.domain.dsn import MAX_BASE_URL_LENGTH
from service.domain.expiry import TIME_FORMAT
from service.domain.model import KEY_HALF, LOADER_OPTIONS
from service.http.fields import (
    BaseUrl,
    Choice,
    Hex32,
    LenientBoolean,
    OptionalInteger,
    RequiredText,
    Slug,
    Text,
)
from service.http.schemas import Body, LoaderOptionsField, NamedKeyBody, RateLimitField
from service.http.time_fields import ExpiryTime, Seconds

JsonSchema = dict[str, Any]

_NO_NUL: Final = r"^[^\u0000]*$"
_NOT_BLANK: Final = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"
_PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"  # up to 65535
_BASE_URL_OR_EMPTY: Final = rf"^(https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:({_PORT}))?(/[A-Za-z0-9._~-]+)*)?$"
_EMPTY: Final = {"const": ""}


_BODIES: Final[list[type[Body[Any]]]] = [*Body.__subclasses__(), NamedKeyBody]
BODIES: Final[Mapping[str, type[Body[Any]]]] = {body.__name__.removesuffix("Body"): body for body in _BODIES}
"""The schemas of request bodies by the names of their components in the OpenAPI document."""


def body_schema(body: type[Body[Any]]) -> JsonSchema:
    """Return the JSON Schema of a body, without descriptions."""
    converter = OpenAPIConverter("3.1.0", schema_name_resolver=lambda _schema: None, spec=APISpec("", "", "3.1.0"))
    converter.add_attribute_function(lambda converter, field, **_: _schema(field, converter))
    return dict(converter.schema2jsonschema(body()))


@singledispatch
def _schema(field: fields.Field[Any], converter: OpenAPIConverter) -> JsonSchema:
    """Return an empty schema for marshmallow's own field types, which apispec supports."""
    del field, converter
    return {}


@_schema.register
def _(field: Text, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "number", "null"], "maxLength": field.max_length, "pattern": _NO_NUL}


@_schema.register
def _(field: RequiredText, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "number"], "maxLength": field.max_length, "pattern": _NOT_BLANK}


@_schema.register
def _(field: Slug, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": "string", "pattern": f"^{field.pattern.pattern}$"}


@_schema.register
def _(_field: BaseUrl, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "null"], "maxLength": MAX_BASE_URL_LENGTH, "pattern": _BASE_URL_OR_EMPTY}


@_schema.register
def _(_field: Hex32, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "null"], "pattern": f"^{KEY_HALF.pattern}$"}


@_schema.register
def _(field: OptionalInteger, _converter: OpenAPIConverter) -> JsonSchema:
    digits = len(str(field.maximum)) - 1  # a number of so many digits is below the maximum
    return {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": field.maximum},
            {"type": "string", "pattern": rf"^(0{{0,9}}[0-9]{{1,{digits}}})?$"},
            {"type": "null"},
        ]
    }


@_schema.register
def _(field: Seconds, _converter: OpenAPIConverter) -> JsonSchema:
    return {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": field.maximum},
            {"type": "string", "pattern": rf"^0{{0,9}}[0-9]{{1,{len(str(field.maximum)) - 1}}}$"},
        ]
    }


@_schema.register
def _(_field: ExpiryTime, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "null"], "format": "date-time", "pattern": f"^{TIME_FORMAT.pattern}$"}


@_schema.register
def _(field: Choice, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": "string", "enum": sorted(field.choices)}


@_schema.register
def _(field: LenientBoolean, _converter: OpenAPIConverter) -> JsonSchema:
    words = "|".join(_case_insensitive(word) for word in sorted(field.WORDS))
    return {
        "anyOf": [
            {"type": "boolean"},
            {"type": "integer", "enum": [0, 1]},
            {"type": "string", "pattern": f"^({words})$"},
        ]
    }


def _case_insensitive(word: str) -> str:
    return re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", word)


@_schema.register
def _(field: RateLimitField, converter: OpenAPIConverter) -> JsonSchema:
    members = converter.fields2jsonschema(field.MEMBERS.fields)["properties"]
    return {
        "type": ["object", "null"] if field.allow_none else "object",
        "properties": members,
        "dependentRequired": {"window": ["count"], "count": ["window"]},
    }


@_schema.register
def _(field: LoaderOptionsField, converter: OpenAPIConverter) -> JsonSchema:
    option = converter.field2property(field.OPTION)
    return {
        "anyOf": [
            {"type": "object", "properties": dict.fromkeys(LOADER_OPTIONS, option)},
            {"type": ["string", "null"]},
            {"type": "array", "items": {"not": {"enum": list(LOADER_OPTIONS)}}},
        ]
    }


def without_descriptions(schema: Any) -> Any:
    """Return ``schema`` without the member `description` of it and of the schemas in it."""
    if isinstance(schema, list):
        return [without_descriptions(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: without_descriptions(value) for name, value in schema.items() if name != "description"}


def form_schema(schema: Mapping[str, Any]) -> JsonSchema:
    """Return the schema of a form with the members of the object that ``schema`` describes.

    All values are text; the members of a nested object have a dot in their names. An optional field may be empty.
    """
    required = schema.get("required", [])
    properties: JsonSchema = {}
    dependent: JsonSchema = {}
    for name, member in schema["properties"].items():
        nested = next((option for option in _options(member) if "properties" in option), None)
        if nested is None:
            properties[name] = _form_field(member, may_be_empty=name not in required)
            continue
        properties |= {f"{name}.{inner}": _form_field(value) for inner, value in nested["properties"].items()}
        dependent |= {
            f"{name}.{inner}": [f"{name}.{other}" for other in others]
            for inner, others in nested.get("dependentRequired", {}).items()
        }
    form = {key: value for key, value in schema.items() if key != "properties"}
    return form | {"properties": properties} | ({"dependentRequired": dependent} if dependent else {})


def _options(member: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    options: list[Mapping[str, Any]] = member.get("anyOf", [member])
    return options


def _form_field(member: Mapping[str, Any], *, may_be_empty: bool = False) -> JsonSchema:
    """Return the schema of a field of a form, which has no null."""
    description = {"description": member["description"]} if "description" in member else {}
    options = [option for option in map(_without_null, _options(member)) if option.get("type") != "null"]
    options += [_EMPTY] if may_be_empty else []
    return description | ({"anyOf": options} if len(options) > 1 else options[0])


def _without_null(option: Mapping[str, Any]) -> JsonSchema:
    types = option.get("type")
    if isinstance(types, list):
        types = [name for name in types if name != "null"]
    return {key: value for key, value in option.items() if key != "description"} | {"type": types}
