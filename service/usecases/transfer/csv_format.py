"""The CSV format: one key in each line, with its organization and its project."""

import csv
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG
from service.usecases.transfer.sentry_format import read_rate_limit
from service.usecases.transfer.stage import Document, Kind, Stage
from service.usecases.transfer.values import (
    UnreadableFileError,
    UnsuitableValueError,
    check_boolean,
    check_id,
    check_key,
    check_name,
    check_slug,
)

_REQUIRED: Final = ("organization", "project", "project_id", "public_key")
_OPTIONAL: Final = ("secret_key", "label", "active", "limit", "window")

_MAX_LINE: Final = 1 << 16
"""Bytes; the longest line that is in memory."""


def stage_rows(lines: Iterator[str], stage: Stage) -> None:
    """Add the records of the lines of a CSV file; values that do not fit are conflicts.

    Raises:
        UnreadableFileError: The file is not CSV, or has other columns.
    """
    rows = csv.reader(lines, strict=True)
    try:
        columns = next(rows, [])
        if not set(_REQUIRED) <= set(columns) <= {*_REQUIRED, *_OPTIONAL} or len({*columns}) < len(columns):
            raise UnreadableFileError(
                1,
                "expected a JSON list, or the columns of CSV: "
                f"{','.join(_REQUIRED)} and, optionally, {','.join(_OPTIONAL)}",
            )
        for row in rows:
            if not row:
                continue
            if len(row) != len(columns):
                raise UnreadableFileError(rows.line_num, f"expected {len(columns)} values")
            try:
                _stage_row(stage, rows.line_num, dict(zip(columns, row, strict=True)))
            except UnsuitableValueError as error:
                stage.add_conflict(rows.line_num, str(error))
    except csv.Error as error:
        raise UnreadableFileError(rows.line_num, f"the line is not CSV ({error})") from None


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Return the lines of a file.

    Raises:
        UnreadableFileError: A line is too long or not UTF-8.
    """
    line, encoding = 1, "utf-8-sig"
    while data := file.readline(_MAX_LINE):
        if len(data) == _MAX_LINE:
            raise UnreadableFileError(line, f"the line is longer than {_MAX_LINE} bytes")
        try:
            yield data.decode(encoding)
        except UnicodeDecodeError:
            raise UnreadableFileError(line, "the text is not UTF-8") from None
        line, encoding = line + 1, "utf-8"


def _stage_row(stage: Stage, line: int, row: dict[str, str]) -> None:
    """Add the organization, the project and the key of a row; an empty value is as one without its column."""
    organization = check_slug("organization", row["organization"], ORGANIZATION_SLUG)
    project = {
        "id": check_id("project_id", row["project_id"]),
        "organization": organization,
        "slug": check_slug("project", row["project"], PROJECT_SLUG),
        "is_active": True,
    }
    key: Document = {
        "project_id": project["id"],
        "public_key": check_key("public_key", row["public_key"]),
    }
    if secret_key := row.get("secret_key"):
        key["secret_key"] = check_key("secret_key", secret_key)
    if label := row.get("label"):
        key["label"] = check_name("label", label)
    if active := row.get("active"):
        key["is_active"] = check_boolean("active", active)
    if row.get("limit") or row.get("window"):
        key["rate_limit"] = read_rate_limit(row, count="limit", window="window")
    stage.add(Kind.ORGANIZATION, line, {"ref": organization, "slug": organization})
    stage.add(Kind.PROJECT, line, project)
    stage.add(Kind.KEY, line, key)
