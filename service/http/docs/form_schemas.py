"""The schema of a form that is sent in place of a JSON object: the same members, side by side, each a text."""

from collections.abc import Iterator, Mapping
from typing import Any

from service.http.docs.field_schemas import JsonSchema

_EMPTY = {"const": ""}


def form_of(schema: Mapping[str, Any]) -> JsonSchema:
    """The form's schema; ``schema`` is the object's. An empty text says nothing where a member may be absent."""
    required = schema.get("required", [])
    fields: JsonSchema = {}
    together: JsonSchema = {}
    for name, member in schema["properties"].items():
        inner = _object(member)
        if inner is None:
            fields[name] = _text(member, may_be_empty=name not in required)
            continue
        fields |= {f"{name}.{one}": _text(what) for one, what in inner["properties"].items()}
        together |= {
            f"{name}.{one}": [f"{name}.{other}" for other in others]
            for one, others in inner.get("dependentRequired", {}).items()
        }
    form = {key: value for key, value in schema.items() if key != "properties"}
    return form | {"properties": fields} | ({"dependentRequired": together} if together else {})


def _object(member: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The alternative of a member that has members."""
    return next((one for one in member.get("anyOf", [member]) if "properties" in one), None)


def _text(member: Mapping[str, Any], *, may_be_empty: bool = False) -> JsonSchema:
    """What a field may say: nothing is null in a form."""
    description = {"description": member["description"]} if "description" in member else {}
    kinds = [one for one in _alternatives(member) if one.get("type") != "null"]
    kinds += [_EMPTY] if may_be_empty else []
    return description | ({"anyOf": kinds} if len(kinds) > 1 else kinds[0])


def _alternatives(member: Mapping[str, Any]) -> Iterator[JsonSchema]:
    for one in member.get("anyOf", [member]):
        kind = one.get("type")
        type_ = [each for each in kind if each != "null"] if isinstance(kind, list) else kind
        yield {key: value for key, value in one.items() if key != "description"} | {"type": type_}
