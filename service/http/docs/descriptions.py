"""The texts of the OpenAPI document, which `descriptions.toml` contains."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_TEXTS: Final = tomllib.loads((files(__package__) / "descriptions.toml").read_text("utf-8"))

INTRODUCTION: Final[str] = _TEXTS["introduction"]
TAGS: Final[Mapping[str, str]] = _TEXTS["tags"]


def member_description(schema: str, member: str) -> str | None:
    """Return the description of the member of a schema, or None; ``schema`` is the name of the schema's class."""
    members: Mapping[str, str] = _TEXTS["members"]
    return members.get(f"{schema}.{member}") or members.get(member)
