"""Pages of lists in descending order of ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from service.domain.model import MAX_BIGINT, ProjectKey

Row = TypeVar("Row")


class Page(NamedTuple):  # a tuple: its hash, for the caches of pages, needs no Python function
    """A page of at most ``size`` rows in descending order of ids.

    Attributes:
        size: Maximum number of rows.
        start: The highest id of the page; None means the newest row.
        skip: Number of rows from ``start`` on that are left out.
        newer: Whether the page contains the lowest ids above ``start`` instead.
    """

    size: int
    start: int | None = None
    skip: int = 0
    newer: bool = False

    @property
    def first(self) -> int:
        """``start``, or the largest id if it is None."""
        return MAX_BIGINT if self.start is None else self.start

    @property
    def limit(self) -> int:
        """The number of rows to select: one more than ``size`` shows whether there is another page."""
        return self.size + 1

    def of(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of this page; ``rows`` are those selected, at most `limit`, in descending order of ids."""
        return rows[-self.size :] if self.newer else rows[: self.size]


@dataclass(frozen=True, slots=True, eq=False)
class KeyRows:
    """Keys of a page, newest first, and the ids of their rows; compared by identity so that it is hashable."""

    ids: Sequence[int]
    keys: Sequence[ProjectKey]
