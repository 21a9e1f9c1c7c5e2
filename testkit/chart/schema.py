"""Builds the chart's values.schema.json: it refuses every name that is not in values.yaml, at every level."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import kubernetes_validate

from service.settings import Settings
from testkit.chart.schema_rules import DEFINITIONS, KUBERNETES_TYPES, RULES, TYPES
from testkit.chart.values import Value, read_values

Schema = dict[str, Any]

_KUBERNETES: Final = "v1.34.0-local-strict"
_WIDTH: Final = 118
_CORE: Final = "io.k8s.api.core.v1."
_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"

_FIXED: Final = frozenset({"PORT", "OPS_PORT", "EDGE_PORT", "EDGE_SNAPSHOT", "HOST"})
"""Settings that the templates determine."""

_POSTGRES_FILES: Final = ("PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGPASSFILE")
"""Variables of libpq that name a file, which can be in a Secret."""

_SETTING_TYPES: Final[dict[type, Schema]] = {
    bool: {"type": ["boolean", "string"], "pattern": "^(true|false)$"},
    int: {"type": ["integer", "string"], "pattern": r"^-?\d+$"},
    float: {"type": ["number", "string"], "pattern": r"^-?\d+(\.\d+)?$"},
}


def build_schema() -> Schema:
    """Return the schema, in JSON Schema draft 7, which all supported versions of Helm know."""
    top: Schema = {"type": "object", "additionalProperties": False, "properties": {}}
    nodes = {"": top}
    for value in read_values():
        parent, _, name = value.path.rpartition(".")
        if parent in nodes and "properties" in nodes[parent]:  # otherwise the type of the parent has its members
            nodes[value.path] = nodes[parent]["properties"][name] = _schema_of(value)
    # Helm passes it to every chart that another chart depends on.
    top["properties"]["global"] = {
        "type": "object",
        "description": "Values of a chart that includes this one.",
    }
    for pattern, rules in RULES.items():
        for path, node in nodes.items():
            if fnmatchcase(path, pattern):
                node["allOf"] = rules
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **top,
        "definitions": dict(sorted(_definitions(top).items())),
    }


def _schema_of(value: Value) -> Schema:
    described = {"description": value.description} if value.description else {}
    for pattern, schema in TYPES.items():
        if fnmatchcase(value.path, pattern):
            # Draft 7 ignores members beside $ref.
            return {**described, **({"allOf": [schema]} if "$ref" in schema else schema)}
    if value.has_members or isinstance(value.default, dict):
        return {**described, "type": "object", "additionalProperties": False, "properties": {}}
    types: dict[type, str] = {bool: "boolean", int: "integer", str: "string"}
    return {**described, "type": types[type(value.default)]}


def _definitions(schema: Schema) -> dict[str, Schema]:
    """Return every definition that is referred to, directly or not."""
    available = _settings() | DEFINITIONS | _kubernetes_definitions()
    found: dict[str, Schema] = {}
    pending = set(_references(schema))
    while pending:
        name = pending.pop()
        found[name] = available[name]
        pending |= set(_references(found[name])) - found.keys()
    return found


def _references(node: Any) -> Iterator[str]:
    yield from re.findall(r'"#/definitions/([^"]+)"', json.dumps(node))


def _settings() -> dict[str, Schema]:
    """Return the definitions of settings that may be in a ConfigMap, and of those that may be in a Secret."""
    metadata = {declared.name.upper(): declared for declared in fields(Settings)}
    visible = {
        name: _SETTING_TYPES.get(type(declared.default), {"type": "string"})
        for name, declared in sorted(metadata.items())
        if name not in _FIXED and not _is_secret(declared.metadata)
    }
    reference = {"$ref": "#/definitions/secretSetting"}
    in_secrets = dict.fromkeys((*sorted(metadata.keys() - _FIXED), *_POSTGRES_FILES), reference)
    return {
        "settings": {"type": "object", "additionalProperties": False, "properties": visible},
        "secretSettings": {"type": "object", "additionalProperties": False, "properties": in_secrets},
    }


def _is_secret(metadata: Mapping[str, Any]) -> bool:
    return bool(metadata["is_secret"])


def _kubernetes_definitions() -> dict[str, Schema]:
    """Return Kubernetes's strict definitions by their short names."""
    directory = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / _KUBERNETES
    definitions = json.loads((directory / "_definitions.json").read_text())["$defs"]
    definitions[_QUANTITY] = KUBERNETES_TYPES["Quantity"]
    return {_short(name): _without_prose(schema) for name, schema in definitions.items()}


def _short(name: str) -> str:
    return name.removeprefix(_CORE).removeprefix("io.k8s.").replace("/", "-")


def _without_prose(node: Any) -> Any:
    """Return a schema without descriptions and extensions, with references to this document."""
    if isinstance(node, list):
        return [_without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {
        name: _without_prose(member)
        for name, member in node.items()
        if not name.startswith("x-") and not (name == "description" and isinstance(member, str))
    }
    if isinstance(reference := kept.get("$ref"), str):
        return {"$ref": f"#/definitions/{_short(reference.rpartition('/')[2])}"}
    return kept


def as_json(node: Any, indent: str = "") -> str:
    """Return a schema as JSON, in which everything that fits is in one line."""
    line = json.dumps(node, ensure_ascii=False)
    if len(indent) + len(line) <= _WIDTH or not isinstance(node, dict | list):
        return line
    inner = f"{indent}  "
    if isinstance(node, list):
        members = [f"{inner}{as_json(item, inner)}" for item in node]
    else:
        members = [f"{inner}{json.dumps(name)}: {as_json(member, inner)}" for name, member in node.items()]
    opening, closing = ("[", "]") if isinstance(node, list) else ("{", "}")
    return f"{opening}\n" + ",\n".join(members) + f"\n{indent}{closing}"
