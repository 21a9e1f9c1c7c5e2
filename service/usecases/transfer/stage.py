"""Stores the contents of a file in a temporary SQLite database: millions of keys do not fit in memory."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from service.usecases.temporary_database import TemporaryStore

Document = dict[str, Any]
"""The values of a record by name; a value that the file does not contain is absent."""


class Kind(StrEnum):
    """The kinds of records; their names are also those of the tables."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    KEY = "project_key"


_UNIQUE: Final = {
    Kind.ORGANIZATION: (("id",), ("slug",)),
    Kind.PROJECT: (("id",), ("organization", "slug")),
    Kind.KEY: (("public_key",), ("secret_key",), ("id",)),
}
"""The values that two records of a kind cannot share."""

_JOINED: Final = {
    Kind.ORGANIZATION: ("ingest_url", "SELECT url FROM ingest_url WHERE organization = record.ref"),
    Kind.PROJECT: ("organization_slug", "SELECT slug FROM organization WHERE ref = record.organization"),
    Kind.KEY: ("has_project", "SELECT true FROM project WHERE id = record.project_id"),
}
"""A value of each document that another record of the file contains; absent if there is no such record."""

_SCHEMA: Final = """
    CREATE TABLE organization (
        ref PRIMARY KEY, slug UNIQUE, id UNIQUE, line, document, is_new DEFAULT 0
    );
    CREATE TABLE project (
        id INTEGER PRIMARY KEY, organization, slug, is_active, line, document, is_new DEFAULT 0,
        UNIQUE (organization, slug)
    );
    CREATE TABLE project_key (
        public_key PRIMARY KEY, secret_key UNIQUE, id UNIQUE, project_id, line, document, is_new DEFAULT 0
    );
    CREATE TABLE ingest_url (organization PRIMARY KEY, url);
    CREATE TABLE finding (is_conflict, line, text);
"""

_COLUMNS: Final = {
    Kind.ORGANIZATION: ("ref", "slug", "id"),
    Kind.PROJECT: ("id", "organization", "slug", "is_active"),
    Kind.KEY: ("public_key", "secret_key", "id", "project_id"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """An organization, a project or a key of the file; ``row_id`` identifies it within its kind."""

    row_id: int
    line: int
    document: Document


class Stage(TemporaryStore):
    """Stores records and findings; ``skipped`` counts records by the reason."""

    schema = _SCHEMA

    def __init__(self, file: sqlite3.Connection) -> None:
        super().__init__(file)
        self.skipped = Counter[str]()

    def add(self, kind: Kind, line: int, document: Document) -> None:
        """Add a record; one that contradicts another record is a conflict, and a repeated one has no effect."""
        columns, text = _COLUMNS[kind], orjson.dumps(document)
        values = [document.get(column) for column in columns]
        places = ", ".join("?" * len(columns))
        statement = f"INSERT OR IGNORE INTO {kind} ({', '.join(columns)}, line, document) VALUES ({places}, ?, ?)"
        if not self._file.execute(statement, (*values, line, text)).rowcount:
            self._add_repeated(kind, line, document, text)

    def _add_repeated(self, kind: Kind, line: int, document: Document, text: bytes) -> None:
        for names in _UNIQUE[kind]:
            condition = " AND ".join(f"{name} = ?" for name in names)
            values = [document.get(name) for name in names]
            same = self._file.execute(f"SELECT line, document FROM {kind} WHERE {condition}", values)
            for other_line, other_text in same.fetchall():
                if other_text != text:
                    shared = names[-1].replace("_", " ")
                    self.add_conflict(
                        line, f"the {shared} of this {kind.replace('_', ' ')} is in line {other_line} too"
                    )
                    return

    def add_ingest_url(self, organization: int, url: str) -> None:
        """Add the ingest URL of an organization, whose record may follow."""
        self._file.execute("INSERT OR REPLACE INTO ingest_url VALUES (?, ?)", (organization, url))

    def add_conflict(self, line: int, text: str) -> None:
        """Add a reason why nothing can be written."""
        self._file.execute("INSERT INTO finding VALUES (true, ?, ?)", (line, text))

    def add_difference(self, line: int, text: str) -> None:
        """Add a difference between the file and the database, which stays as it is."""
        self._file.execute("INSERT INTO finding VALUES (false, ?, ?)", (line, text))

    def skip_inactive_projects(self) -> None:
        """Remove the projects that are not active, with their keys."""
        keys = "DELETE FROM project_key WHERE project_id IN (SELECT id FROM project WHERE NOT is_active)"
        self._skip("keys of projects that are not active", self._file.execute(keys).rowcount)
        projects = self._file.execute("DELETE FROM project WHERE NOT is_active").rowcount
        self._skip("projects that are not active", projects)

    def _skip(self, reason: str, count: int) -> None:
        if count:
            self.skipped[reason] += count

    def batches(self, kind: Kind, size: int, *, only_new: bool = False) -> Iterator[list[Record]]:
        """Return the records of a kind, or those marked as new, at most ``size`` at a time."""
        name, joined = _JOINED[kind]
        select = f"""
            SELECT rowid, line, document, ({joined}) FROM {kind} AS record
            WHERE rowid > ? AND is_new >= ? ORDER BY rowid LIMIT ?
        """
        after = 0
        while rows := self._file.execute(select, (after, only_new, size)).fetchall():
            after = rows[-1][0]
            yield [
                Record(row_id, line, orjson.loads(text) | ({} if value is None else {name: value}))
                for row_id, line, text, value in rows
            ]

    def mark_new(self, kind: Kind, records: Iterable[Record]) -> None:
        """Mark records that the database does not have."""
        self._file.executemany(
            f"UPDATE {kind} SET is_new = 1 WHERE rowid = ?", [(record.row_id,) for record in records]
        )

    def count(self, kind: Kind, *, only_new: bool = False) -> int:
        """Count the records of a kind, or those marked as new."""
        select = f"SELECT count(*) FROM {kind} WHERE is_new >= ?"
        return int(self._file.execute(select, (only_new,)).fetchone()[0])

    def highest_id(self, kind: Kind) -> int:
        """Return the highest id of the records of a kind that are marked as new, or 0."""
        select = f"SELECT coalesce(max(id), 0) FROM {kind} WHERE is_new"
        return int(self._file.execute(select).fetchone()[0])

    def findings(self, *, conflicts: bool) -> Iterator[tuple[int, str]]:
        """Return the conflicts or the differences, each with its line, in the order of the lines."""
        select = "SELECT line, text FROM finding WHERE is_conflict = ? ORDER BY line, text"
        return iter(self._file.execute(select, (conflicts,)))

    def count_findings(self, *, conflicts: bool) -> int:
        """Count the conflicts or the differences."""
        select = "SELECT count(*) FROM finding WHERE is_conflict = ?"
        return int(self._file.execute(select, (conflicts,)).fetchone()[0])
