"""What a token may do."""

from collections.abc import Iterable
from typing import Final

LEVELS: Final = ("read", "write", "admin")
"""From low to high; a higher level implies those below it."""

SCOPES: Final = tuple(f"{noun}:{level}" for noun in ("project", "org") for level in LEVELS)
"""Every scope there is."""


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """``scopes`` with all that they imply.

    Raises:
        ValueError: one of them is not a scope.
    """
    implied = set[str]()
    for scope in scopes:
        if scope not in SCOPES:
            raise ValueError(f"{scope!r} is no scope; there are {', '.join(SCOPES)}")
        noun, _, highest = scope.partition(":")
        implied.update(f"{noun}:{level}" for level in LEVELS[: LEVELS.index(highest) + 1])
    return frozenset(implied)
