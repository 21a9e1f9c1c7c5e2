"""The table project_key."""

from collections.abc import Sequence
from typing import Final

import asyncpg
import orjson

from service.domain.events import wire_loader_options
from service.domain.model import LoaderOptions, ProjectKey, RateLimit
from service.postgres.database import Connection

_COLUMNS: Final = """
    key.project_id, key.label, key.public_key, key.secret_key, key.is_active, key.rate_limit_count,
    key.rate_limit_window, key.browser_sdk_version, key.loader_options, key.version, key.created_at
"""

_SELECT_ONE: Final = f"""
    SELECT {_COLUMNS}
    FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS wanted (organization_id, project_id, public_key)
    JOIN project ON project.id = wanted.project_id AND project.organization_id = wanted.organization_id
    JOIN project_key AS key ON key.public_key = wanted.public_key AND key.project_id = project.id
"""  # noqa: S608 -- the columns are the constant above


async def select_keys(
    connection: Connection, wanted: Sequence[tuple[int, int, str]]
) -> dict[tuple[int, str], ProjectKey]:
    """The keys among ``wanted`` that exist, by project id and public key.

    Args:
        connection: where to read.
        wanted: organization id, project id and public key of each.
    """
    rows = await connection.fetch(_SELECT_ONE, *zip(*wanted, strict=True))
    return {(row["project_id"], row["public_key"]): _from_row(row) for row in rows}


_SELECT_NEWEST: Final = f"""
    SELECT key.id, {_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    WHERE project.organization_id = $1 AND key.project_id = $2
    ORDER BY key.id DESC
    LIMIT $3
"""  # noqa: S608 -- the columns are the constant above


async def select_newest(
    connection: Connection, *, organization_id: int, project_id: int, limit: int
) -> list[tuple[int, ProjectKey]]:
    """At most ``limit`` keys of a project with their row ids, newest first."""
    rows = await connection.fetch(_SELECT_NEWEST, organization_id, project_id, limit)
    return [(row["id"], _from_row(row)) for row in rows]


_TAKEN: Final = """
    SELECT coalesce(bool_or(public_key = $1), false) AS public_key,
           coalesce(bool_or(secret_key = $2), false) AS secret_key
    FROM project_key
    WHERE public_key = $1 OR secret_key = $2
"""


async def taken_fields(connection: Connection, *, public_key: str, secret_key: str) -> tuple[str, ...]:
    """Which of the two halves are in use, by any tenant: both columns are unique over the installation."""
    row = await connection.fetchrow(_TAKEN, public_key, secret_key)
    assert row is not None, "an aggregate has one row"
    return tuple(name for name, taken in row.items() if taken)


def loader_options_column(options: LoaderOptions) -> str:
    """``options`` as the column holds them."""
    return orjson.dumps(wire_loader_options(options)).decode()


def _from_row(row: asyncpg.Record) -> ProjectKey:
    count, window = row["rate_limit_count"], row["rate_limit_window"]
    options = orjson.loads(row["loader_options"])
    return ProjectKey(
        project_id=row["project_id"],
        label=row["label"],
        public_key=row["public_key"],
        secret_key=row["secret_key"],
        is_active=row["is_active"],
        rate_limit=None if count is None else RateLimit(window=window, count=count),
        browser_sdk_version=row["browser_sdk_version"],
        loader_options=LoaderOptions(
            has_replay=options["hasReplay"],
            has_performance=options["hasPerformance"],
            has_debug=options["hasDebug"],
            has_feedback=options["hasFeedback"],
            has_logs_and_metrics=options["hasLogsAndMetrics"],
        ),
        version=row["version"],
        created_at=row["created_at"],
    )
