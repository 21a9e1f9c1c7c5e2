"""The AsyncAPI 3.0 document of the topic: the file `asyncapi.json`, which references the files in `schemas/`."""

import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

_FILES: Final = files(__package__)
_ONLY_IN_FILES: Final = {"$schema", "$id"}
"""Keywords that are not allowed in an embedded schema."""


def asyncapi_document(topic: str) -> dict[str, Any]:
    """Return the document, a JSON object, with the version of the service; ``topic`` is the name of the topic."""
    text = (_FILES / "asyncapi.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text, object_hook=_embedded)
    document["info"]["version"] = version("projectkeys")
    [channel] = document["channels"].values()
    channel["address"] = channel["bindings"]["kafka"]["topic"] = topic
    return document


def _embedded(value: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the file that ``value`` references, or ``value`` if it references none."""
    reference = str(value.get("$ref", "#"))
    if reference.startswith("#"):
        return value
    content = json.loads((_FILES / reference).read_text("utf-8"))
    return {name: member for name, member in content.items() if name not in _ONLY_IN_FILES}
