"""Compares a schema with a released version: only additions are compatible."""

from collections.abc import Iterator, Mapping
from typing import Any

_ANNOTATIONS = {"$schema", "$id", "title", "description", "examples", "$comment", "deprecated"}
"""Keywords that do not restrict values."""

_SUPPORTED = {"type", "required", "properties", "enum", "const", "pattern", "format", "minimum"}
"""The keywords that this comparison supports; a schema that uses another one needs an extension here."""

Schema = Mapping[str, Any]


def incompatibilities(released: Schema, current: Schema, path: str = "$") -> Iterator[str]:
    """Yield a sentence for each incompatible change from ``released`` to ``current``.

    The topic keeps records of every release. Old consumers read new records, so no member may be removed, become
    optional or have other values; new consumers read old records, so no member may become required. New members and
    other descriptions are compatible.
    """
    yield from _unsupported(current, path)
    old_members, new_members = released.get("properties", {}), current.get("properties", {})
    old_required, new_required = set(released.get("required", ())), set(current.get("required", ()))
    for name, member in old_members.items():
        if name in new_members:
            yield from incompatibilities(member, new_members[name], f"{path}.{name}")
        else:
            yield f"{path}.{name} was removed"
    for name in sorted(new_required - old_required):
        yield f"{path}.{name} is required: old records do not have it"
    for name in sorted(old_required - new_required):
        yield f"{path}.{name} is no longer required: old consumers rely on it"
    for name in sorted(new_members.keys() - old_members.keys()):
        yield from _unsupported(new_members[name], f"{path}.{name}")
    for keyword in sorted(_SUPPORTED - {"properties", "required"}):
        if released.get(keyword) != current.get(keyword):
            yield f"{path}: {keyword} was {released.get(keyword)} and is {current.get(keyword)}"


def _unsupported(schema: Schema, path: str) -> Iterator[str]:
    for keyword in sorted(schema.keys() - _SUPPORTED - _ANNOTATIONS):
        yield f"{path}: {keyword} is a keyword that the comparison does not support"
