"""Pages of a list that goes by ids, greatest first; and the keys that are found for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from service.domain.model import ProjectKey

Row = TypeVar("Row")

_GREATEST_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """At most ``size`` rows: going down from the id ``start``, itself included, with ``skip`` rows left out.

    With ``newer`` going up from it, itself left out. ``start`` None is the newest.
    """

    size: int
    start: int | None = None
    skip: int = 0
    newer: bool = False

    @property
    def first(self) -> int:
        """The id that it begins with; the newest comes after every other."""
        return _GREATEST_ID if self.start is None else self.start

    @property
    def limit(self) -> int:
        """How many rows to look for: one more tells whether there is another page."""
        return self.size + 1

    def of(self, found: Sequence[Row]) -> Sequence[Row]:
        """The page's rows among ``found``, which are at most `limit` and go down."""
        return found[-self.size :] if self.newer else found[: self.size]


@dataclass(frozen=True, slots=True, eq=False)
class KeyRows:
    """Keys as a list shows them, newest first, and beside them the ids of their rows.

    Compared by identity, which costs nothing, so that what is made of them can be kept beside them.
    """

    ids: Sequence[int]
    keys: Sequence[ProjectKey]
