"""Pages of lists that are sorted by descending id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.domain.model import MAX_BIGINT, ProjectKey

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of at most ``size`` rows in descending order of their ids.

    The page starts at the id ``start``, which it includes, and skips the first ``skip`` rows. With ``newer`` it
    contains the ids above ``start`` that are next to it. ``start`` None means the newest row.
    """

    size: int
    start: int | None = None
    skip: int = 0
    newer: bool = False

    @property
    def first(self) -> int:
        """The id where the page starts."""
        return MAX_BIGINT if self.start is None else self.start

    @property
    def limit(self) -> int:
        """The number of rows to select: one more than the page has, which shows whether there is another page."""
        return self.size + 1

    def of(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of this page among the selected ``rows``, at most `limit` in descending order."""
        return rows[-self.size :] if self.newer else rows[: self.size]


@dataclass(frozen=True, slots=True, eq=False)
class KeyRows:
    """Keys of a list, newest first, and the ids of their rows; compared by identity."""

    ids: Sequence[int]
    keys: Sequence[ProjectKey]
