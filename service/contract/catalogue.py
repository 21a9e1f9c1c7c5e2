"""The schemas of what goes into the topic, with an example of each: the files in `schemas/`.

A file is named ``<type>.<major>.json``, its example ``<type>.<major>.example.json``. Within a major version
nothing but an addition is allowed: the compacted topic holds old records for ever, and old readers meet new ones.
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
class Described:
    """A type in one major version; ``name`` is both, ``projectkey.created.1``."""

    name: str
    schema: dict[str, Any]
    example: dict[str, Any]

    @property
    def type(self) -> str:
        """The name without the major version."""
        return self.name.rpartition(".")[0]

    @property
    def urn(self) -> str:
        """How records name the schema: it is the schema's own ``$id``."""
        return str(self.schema["$id"])


@cache
def described() -> dict[str, Described]:
    """Every schema by its name, read once.

    Raises:
        FileNotFoundError: a schema has no example.
    """
    names = sorted(
        file.name.removesuffix(_SCHEMA)
        for file in _FILES.iterdir()
        if file.name.endswith(_SCHEMA) and not file.name.endswith(_EXAMPLE)
    )
    return {name: Described(name, _read(name + _SCHEMA), _read(name + _EXAMPLE)) for name in names}


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FILES / name).read_text())
    return content
