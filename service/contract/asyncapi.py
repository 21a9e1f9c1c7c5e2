"""The AsyncAPI 3.0 document of the topic, `asyncapi.json`, and the JSON Schemas that it references, `schemas/`."""

import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

_FILES: Final = files(__package__)
_ONLY_IN_FILES: Final = {"$schema", "$id"}
"""Keywords that are not allowed in an embedded schema."""


def event_schemas() -> dict[str, Any]:
    """Return the JSON Schemas of the events and of the headers by their names, such as ``projectkey.created.1``."""
    names = (file.name.removesuffix(".json") for file in (_FILES / "schemas").iterdir())
    return {name: _read(f"schemas/{name}.json") for name in sorted(names) if not name.endswith(".example")}


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
    return {name: member for name, member in _read(reference).items() if name not in _ONLY_IN_FILES}


def _read(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FILES / path).read_text("utf-8"))
    return content
