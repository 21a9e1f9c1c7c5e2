"""The search for projects of an organization."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProjectSearch:
    """Conditions that a project must all satisfy; every project satisfies a condition that is None.

    Attributes:
        ids: Its id is one of these.
        slugs: Its slug is one of these.
        names: Its name is one of these.
        public_keys: One of these is a key of the project.
        text: Its name or its slug contains this text, in upper or lower case.
    """

    ids: Collection[int] | None = None
    slugs: Collection[str] | None = None
    names: Collection[str] | None = None
    public_keys: Collection[str] | None = None
    text: str | None = None
