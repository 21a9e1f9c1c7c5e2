"""The JSON Schemas of the events and of the record headers, each with an example: the files in `schemas/`.

A file is named ``<type>.<major>.json``, its example ``<type>.<major>.example.json``. Within a major version
only additions are allowed: the compacted topic keeps old records, and old consumers read new records.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

_FILES: Final = files(__package__) / "schemas"
_SCHEMA: Final = ".json"
_EXAMPLE: Final = ".example.json"


@dataclass(frozen=True, slots=True)
class EventSchema:
    """The schema of one type and major version; ``name`` has both, ``projectkey.created.1``."""

    name: str
    schema: dict[str, Any]
    example: dict[str, Any]

    @property
    def type(self) -> str:
        """Return the name without the major version."""
        return self.name.rpartition(".")[0]

    @property
    def urn(self) -> str:
        """Return the schema's ``$id``, which records have in the header ``ce_dataschema``."""
        return str(self.schema["$id"])


@cache
def event_schemas() -> dict[str, EventSchema]:
    """Return all schemas by name; the files are read once.

    Raises:
        FileNotFoundError: a schema has no example.
    """
    names = sorted(
        file.name.removesuffix(_SCHEMA)
        for file in _FILES.iterdir()
        if file.name.endswith(_SCHEMA) and not file.name.endswith(_EXAMPLE)
    )
    return {name: EventSchema(name, _read(name + _SCHEMA), _read(name + _EXAMPLE)) for name in names}


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FILES / name).read_text())
    return content
