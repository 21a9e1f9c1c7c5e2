"""The SQL files that create or change the schema, as the package contains them."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

_NO_TRANSACTION: Final = "-- migrate: no transaction\n"
_END_OF_STATEMENT: Final = re.compile(r";[ \t]*(?:\n|\Z)")
_COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """A change of the schema: ``name`` is its file's name without the suffix, ``text`` the file's content."""

    name: str
    text: str

    @property
    def in_transaction(self) -> bool:
        """Whether the file runs in one transaction: unless its first line is the comment that excludes it."""
        return not self.text.startswith(_NO_TRANSACTION)

    @property
    def statements(self) -> list[str]:
        """The statements of a file without a transaction; each ends with a semicolon at the end of a line."""
        parts = (_COMMENT.sub("", part).strip() for part in _END_OF_STATEMENT.split(self.text))
        return [part for part in parts if part]


@cache
def known_migrations() -> tuple[Migration, ...]:
    """Return the migrations of this program, in the order in which they are applied."""
    directory = files("service") / "postgres" / "migrations"
    found = (file for file in directory.iterdir() if file.name.endswith(".sql"))
    return tuple(
        Migration(file.name.removesuffix(".sql"), file.read_text())
        for file in sorted(found, key=lambda file: file.name)
    )


def current_schema() -> str:
    """Return schema.sql, the whole current schema."""
    packaged = files("service") / "schema.sql"
    in_checkout = Path(__file__).parents[2] / "schema.sql"  # the wheel contains a copy, a checkout does not
    return packaged.read_text() if packaged.is_file() else in_checkout.read_text()
