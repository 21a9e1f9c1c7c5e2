"""Whether a schema only adds to one that was released."""

from collections.abc import Iterator, Mapping
from typing import Any

_ANNOTATIONS = {"$schema", "$id", "title", "description", "examples", "$comment", "deprecated"}
"""What says nothing of which values there are."""

_KNOWN = {"type", "required", "properties", "enum", "const", "pattern", "format", "minimum"}
"""What this comparison understands; a schema that uses more has to teach it first."""

Schema = Mapping[str, Any]


def breaks(released: Schema, now: Schema, at: str = "$") -> Iterator[str]:
    """What ``now`` breaks, a sentence each; nothing if it only adds.

    It holds both ways, for the topic keeps records of every release for ever: old readers get new records, so no
    member may go, become optional or take other values; new readers get old records, so none may become required.
    An object may have more members, and a description may say what it likes: that is all.
    """
    yield from _unknown(now, at)
    old_members, new_members = released.get("properties", {}), now.get("properties", {})
    old_required, new_required = set(released.get("required", ())), set(now.get("required", ()))
    for name, member in old_members.items():
        if name in new_members:
            yield from breaks(member, new_members[name], f"{at}.{name}")
        else:
            yield f"{at}.{name} is gone"
    for name in sorted(new_required - old_required):
        yield f"{at}.{name} is required now: old records are without it"
    for name in sorted(old_required - new_required):
        yield f"{at}.{name} is not required any more: old readers rely on it"
    for name in sorted(new_members.keys() - old_members.keys()):
        yield from _unknown(new_members[name], f"{at}.{name}")
    for word in sorted(_KNOWN - {"properties", "required"}):
        if released.get(word) != now.get(word):
            yield f"{at}: {word} was {released.get(word)} and is {now.get(word)}"


def _unknown(schema: Schema, at: str) -> Iterator[str]:
    for word in sorted(schema.keys() - _KNOWN - _ANNOTATIONS):
        yield f"{at}: {word} is a word that the comparison does not understand"
