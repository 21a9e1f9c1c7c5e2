"""The fields of the bodies as JSON Schema: what they read, exactly; the document promises no more and no less."""

import re
from functools import singledispatch
from typing import Any, Final

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import fields

from service.domain.dsn import LONGEST_BASE_URL
from service.http.docs.descriptions import member_text
from service.http.fields import BaseUrl, Choice, EmptyOrInteger, Hex32, Name, Slug, Switch, Text
from service.http.schemas import WIRE_OPTIONS, LoaderOptionsField, RateLimitField

JsonSchema = dict[str, Any]

_NO_NUL: Final = r"^[^\u0000]*$"
_NOT_BLANK: Final = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"
_PORT: Final = (
    "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"  # up to 65535
)
_BASE_URL_OR_EMPTY: Final = (
    rf"^(https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:({_PORT}))?(/[A-Za-z0-9._~-]+)*)?$"
)
_SAYS_NOTHING: Final = "What is neither an object says nothing."


def describe(converter: OpenAPIConverter, field: fields.Field[Any], **_: Any) -> JsonSchema:
    """What apispec adds for a field of a body or of an answer: the schema of our own kinds, and what it is."""
    schema = _schema(field, converter)
    text = member_text(type(field.parent).__name__, field.data_key or field.name) if field.name else None
    return schema | ({"description": text} if text else {})


@singledispatch
def _schema(field: fields.Field[Any], converter: OpenAPIConverter) -> JsonSchema:
    """Marshmallow's own fields need nothing beyond what apispec knows of them."""
    del field, converter
    return {}


@_schema.register
def _(field: Text, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "number", "null"], "maxLength": field.longest, "pattern": _NO_NUL}


@_schema.register
def _(field: Name, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "number"], "maxLength": field.longest, "pattern": _NOT_BLANK}


@_schema.register
def _(field: Slug, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": "string", "pattern": f"^{field.pattern.pattern}$"}


@_schema.register
def _(_field: BaseUrl, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "null"], "maxLength": LONGEST_BASE_URL, "pattern": _BASE_URL_OR_EMPTY}


@_schema.register
def _(field: Hex32, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": ["string", "null"], "pattern": f"^{field.PATTERN.pattern}$"}


@_schema.register
def _(field: EmptyOrInteger, _converter: OpenAPIConverter) -> JsonSchema:
    sure = len(str(field.greatest)) - 1  # so many digits are below it whichever they are
    return {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": field.greatest},
            {"type": "string", "pattern": rf"^(0{{0,9}}[0-9]{{1,{sure}}})?$"},
            {"type": "null"},
        ]
    }


@_schema.register
def _(field: Choice, _converter: OpenAPIConverter) -> JsonSchema:
    return {"type": "string", "enum": sorted(field.choices)}


@_schema.register
def _(field: Switch, _converter: OpenAPIConverter) -> JsonSchema:
    words = "|".join(_in_any_case(word) for word in sorted(field.WORDS))
    return {
        "anyOf": [
            {"type": "boolean"},
            {"type": "integer", "enum": [0, 1]},
            {"type": "string", "pattern": f"^({words})$"},
        ]
    }


def _in_any_case(word: str) -> str:
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
    switch = converter.field2property(field.SWITCH)
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    name: switch | {"description": member_text(type(field).__name__, name)}
                    for name in WIRE_OPTIONS
                },
            },
            {"type": ["string", "null"], "description": _SAYS_NOTHING},
            {"type": "array", "items": {"not": {"enum": list(WIRE_OPTIONS)}}, "description": _SAYS_NOTHING},
        ]
    }
