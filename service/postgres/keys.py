"""The table project_key."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import asyncpg
import orjson

from service.domain.events import loader_options_to_json
from service.domain.model import LoaderOptions, ProjectKey, RateLimit
from service.postgres.database import Connection

KEY_COLUMNS: Final = """
    key.project_id, key.label, key.public_key, key.secret_key, key.is_active, key.rate_limit_count,
    key.rate_limit_window, key.browser_sdk_version, key.loader_options, key.version, key.created_at
"""
"""What a key is made of, of the table's alias ``key``; the first columns of every row that has one."""

_WIDTH: Final = KEY_COLUMNS.count(",") + 1

_KEPT: Final = 4096
"""Keys that are kept as they were made of their rows; each is some 600 bytes."""

_SELECT_ONE: Final = f"""
    SELECT {KEY_COLUMNS}
    FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS wanted (organization_id, project_id, public_key)
    JOIN project ON project.id = wanted.project_id AND project.organization_id = wanted.organization_id
                    AND project.deleted_at IS NULL
    JOIN project_key AS key ON key.public_key = wanted.public_key AND key.project_id = project.id
"""  # noqa: S608 -- the columns are the constant above


async def select_keys(
    connection: Connection, wanted: Collection[tuple[int, int, str]]
) -> dict[tuple[int, str], ProjectKey]:
    """The keys among ``wanted`` that exist in projects that are not deleted, by project id and public key.

    Args:
        connection: where to read.
        wanted: organization id, project id and public key of each.
    """
    rows = await connection.fetch(_SELECT_ONE, *zip(*wanted, strict=True))
    return {(row["project_id"], row["public_key"]): known_key(row) for row in rows}


_SELECT_BY_ROW_ID: Final = f"""
    SELECT {KEY_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    WHERE project.organization_id = $1 AND project.id = $2 AND key.id = $3 AND project.deleted_at IS NULL
"""  # noqa: S608 -- the columns are the constant above


async def select_by_row_id(
    connection: Connection, *, organization_id: int, project_id: int, row_id: int
) -> ProjectKey | None:
    """The key of a project whose row has this id; None if there is none or the project is deleted."""
    row = await connection.fetchrow(_SELECT_BY_ROW_ID, organization_id, project_id, row_id)
    return None if row is None else key_from_row(row)


_SELECT_STANDING: Final = """
    SELECT coalesce(bool_or(public_key = $1), false) AS public_key,
           coalesce(bool_or(secret_key = $2), false) AS secret_key,
           coalesce(bool_or(public_key = $1 AND secret_key = $2 AND project_id = $3 AND created_at = $4), false)
               AS is_same
    FROM project_key
    WHERE public_key = $1 OR secret_key = $2
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in a new key's way: ``taken`` names its halves that are in use, by any tenant.

    ``is_same``: it is this very key, committed before.
    """

    taken: tuple[str, ...]
    is_same: bool


async def select_standing(connection: Connection, key: ProjectKey) -> Standing:
    """Why ``key`` was not inserted: both halves are unique over the whole installation."""
    row = await connection.fetchrow(
        _SELECT_STANDING, key.public_key, key.secret_key, key.project_id, key.created_at
    )
    assert row is not None, "an aggregate has one row"
    halves = ("public_key", "secret_key")
    return Standing(taken=tuple(half for half in halves if row[half]), is_same=row["is_same"])


def loader_options_column(options: LoaderOptions) -> str:
    """``options`` as the column holds them."""
    return orjson.dumps(loader_options_to_json(options)).decode()


def key_from_row(row: asyncpg.Record) -> ProjectKey:
    """The key in a row that begins with `KEY_COLUMNS`."""
    return _key(row[:_WIDTH])


def known_key(row: asyncpg.Record | tuple[Any, ...]) -> ProjectKey:
    """The same, and the same object for equal rows: for keys that are read again and again."""
    return _known(row[:_WIDTH])


def _key(values: tuple[Any, ...]) -> ProjectKey:
    project_id, label, public_key, secret_key, is_active, count, window, sdk, options, version, created_at = (
        values
    )
    return ProjectKey(
        project_id=project_id,
        label=label,
        public_key=public_key,
        secret_key=secret_key,
        is_active=is_active,
        rate_limit=None if count is None else RateLimit(window=window, count=count),
        browser_sdk_version=sdk,
        loader_options=_loader_options(options),
        version=version,
        created_at=created_at,
    )


_known: Final = lru_cache(maxsize=_KEPT)(_key)


@lru_cache(maxsize=1024)  # five switches make 32 texts; others' spellings make a few more
def _loader_options(text: str) -> LoaderOptions:
    options = orjson.loads(text)
    return LoaderOptions(
        has_replay=options["hasReplay"],
        has_performance=options["hasPerformance"],
        has_debug=options["hasDebug"],
        has_feedback=options["hasFeedback"],
        has_logs_and_metrics=options["hasLogsAndMetrics"],
    )
