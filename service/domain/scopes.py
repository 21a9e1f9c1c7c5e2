"""The scopes of tokens."""

from collections.abc import Iterable
from typing import Final

LEVELS: Final = ("read", "write", "admin")
"""The levels of a scope in ascending order; each includes the lower ones."""

SCOPES: Final = tuple(f"{noun}:{level}" for noun in ("project", "org") for level in LEVELS)
"""All scopes."""


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """Return ``scopes`` and the scopes that they include.

    Raises:
        ValueError: ``scopes`` contains an unknown scope.
    """
    implied = set[str]()
    for scope in scopes:
        if scope not in SCOPES:
            raise ValueError(f"{scope!r} is not a scope; the scopes are {', '.join(SCOPES)}")
        noun, _, highest = scope.partition(":")
        implied.update(f"{noun}:{level}" for level in LEVELS[: LEVELS.index(highest) + 1])
    return frozenset(implied)
