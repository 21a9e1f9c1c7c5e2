"""The JSON Schemas of the events and of the headers, each with an example: the files in `service/contract/schemas`.

A file is named ``<type>.<major>.json``, its example ``<type>.<major>.example.json``. Within a major version
only additions are allowed: the compacted topic keeps old records, and old consumers read new records.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

_FILES: Final = files("service.contract") / "schemas"
_SCHEMA: Final = ".json"
_EXAMPLE: Final = ".example.json"


@dataclass(frozen=True, slots=True)
class EventSchema:
    """The schema of an event type in a major version; ``name`` contains both, as in ``projectkey.created.1``."""

    name: str
    schema: dict[str, Any]
    example: dict[str, Any]

    @property
    def type(self) -> str:
        """The name without the major version, such as ``projectkey.created``."""
        return self.name.rpartition(".")[0]

    @property
    def urn(self) -> str:
        """The schema's ``$id``, which the header ``ce_dataschema`` of records contains."""
        return str(self.schema["$id"])


@cache
def event_schemas() -> dict[str, EventSchema]:
    """Return all schemas by name; the files are read once.

    Raises:
        FileNotFoundError: A schema has no example.
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
