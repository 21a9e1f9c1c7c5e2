"""The table project_key: its columns, and statements that read single keys."""

from collections.abc import Collection
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias

import asyncpg
import orjson

from service.domain.model import LOADER_OPTIONS, LoaderOptions, ProjectKey, RateLimit
from service.postgres.database import Connection

KEY_COLUMNS: Final = """
    key.project_id, key.label, key.public_key, key.secret_key, key.is_active, key.rate_limit_count,
    key.rate_limit_window, key.browser_sdk_version, key.loader_options, key.version, key.created_at,
    key.expires_at, key.id
"""
"""The columns of a key, of the table's alias ``key``; the first columns of every row that contains a key.

Their order is that of the members of `ProjectKey`; the rate limit has two columns."""

KEY_WIDTH: Final = KEY_COLUMNS.count(",") + 1

PROJECT_ID: Final = 0
PUBLIC_KEY: Final = 2
"""Positions in `KEY_COLUMNS`."""

KeyColumns: TypeAlias = tuple[Any, ...]
"""The values of `KEY_COLUMNS`."""

# OFFSET 0 forces lookups by the public key and by the project's id: without statistics, Postgres may read all keys of
# the project instead.
_SELECT_KEYS: Final = f"""
    SELECT {KEY_COLUMNS}
    FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS wanted (organization_id, project_id, public_key)
    CROSS JOIN LATERAL (
        SELECT {KEY_COLUMNS} FROM project_key AS key WHERE key.public_key = wanted.public_key OFFSET 0
    ) AS key
    CROSS JOIN LATERAL (
        SELECT organization_id FROM project WHERE id = key.project_id AND deleted_at IS NULL OFFSET 0
    ) AS project
    WHERE key.project_id = wanted.project_id AND project.organization_id = wanted.organization_id
"""


async def select_keys(
    connection: Connection, key_ids: Collection[tuple[int, int, str]]
) -> dict[tuple[int, str], KeyColumns]:
    """Return the keys that exist in projects that are not deleted, by project id and public key.

    Args:
        connection: A connection.
        key_ids: Organization id, project id and public key of each key.
    """
    rows = await connection.fetch(_SELECT_KEYS, *zip(*key_ids, strict=True))
    return {(row[PROJECT_ID], row[PUBLIC_KEY]): row[:] for row in rows}


_SELECT_BY_ROW_ID: Final = f"""
    SELECT {KEY_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    WHERE project.organization_id = $1 AND project.id = $2 AND key.id = $3 AND project.deleted_at IS NULL
"""


async def select_by_row_id(
    connection: Connection, *, organization_id: int, project_id: int, row_id: int
) -> ProjectKey | None:
    """Return the key of a project by the id of its row; None if there is none or the project is deleted."""
    row = await connection.fetchrow(_SELECT_BY_ROW_ID, organization_id, project_id, row_id)
    return None if row is None else key_from_row(row)


_SELECT_TAKEN: Final = """
    SELECT coalesce(bool_or(public_key = $1), false) AS public_key,
           coalesce(bool_or(secret_key = $2), false) AS secret_key
    FROM project_key
    WHERE public_key = $1 OR secret_key = $2
"""


async def select_taken(connection: Connection, key: ProjectKey) -> list[str]:
    """Return those of ``public_key`` and ``secret_key`` of a new key that are in use, by any tenant."""
    row = await connection.fetchrow(_SELECT_TAKEN, key.public_key, key.secret_key)
    assert row is not None, "an aggregate has one row"
    return [name for name in ("public_key", "secret_key") if row[name]]


_COUNT: Final = """
    SELECT (
        SELECT count(*)
        FROM project_key AS key
        JOIN project ON project.id = key.project_id
        WHERE ($1::bigint IS NULL OR project.organization_id = $1) AND ($2::bigint IS NULL OR key.project_id = $2)
    ) + (
        SELECT count(*)
        FROM deleted_key
        WHERE ($1::bigint IS NULL OR organization_id = $1) AND ($2::bigint IS NULL OR project_id = $2)
    )
"""

_COUNT_TIMEOUT: Final = timedelta(seconds=60)
"""Counting ten million rows takes seconds: more than the statement timeout of requests."""


async def count_keys(connection: Connection, *, organization_id: int | None, project_id: int | None) -> int:
    """Count the existing and deleted keys of a project, of an organization or of all; in a transaction."""
    seconds = _COUNT_TIMEOUT.total_seconds()
    await connection.execute(f"SET LOCAL statement_timeout = '{seconds:g}s'")
    return int(await connection.fetchval(_COUNT, organization_id, project_id, timeout=seconds))


def key_from_row(row: asyncpg.Record) -> ProjectKey:
    """Return the key of a row that starts with `KEY_COLUMNS`."""
    return key_from_columns(row[:KEY_WIDTH])


def key_from_columns(columns: KeyColumns) -> ProjectKey:
    """Return the key with the values of `KEY_COLUMNS`."""
    count, window, browser_sdk_version, options = columns[5:9]
    limit = None if count is None else RateLimit(window=window, count=count)
    members = (*columns[:5], limit, browser_sdk_version, _loader_options(options), *columns[9:])
    return ProjectKey(*members)


@lru_cache(maxsize=1024)  # five options make 32 texts; other programs may format theirs in another way
def _loader_options(text: str) -> LoaderOptions:
    """Return the options; the defaults for a text that `migrate` repairs, so that it does not fail a whole page."""
    try:
        options = orjson.loads(text)
        values = {attribute: options[name] for name, attribute in LOADER_OPTIONS.items()}
    except (ValueError, KeyError, TypeError):
        return LoaderOptions()
    return LoaderOptions(**values) if all(isinstance(value, bool) for value in values.values()) else LoaderOptions()
