"""Changes of keys that exist: each under the lock of its row, with its event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from service.domain.events import Event, OutboxRow
from service.domain.model import Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.keys import KEY_COLUMNS, key_from_row, loader_options_column
from service.postgres.outbox import insert_events
from service.postgres.projects import PROJECT_COLUMNS, project_from_row


@dataclass(frozen=True, slots=True)
class LockedKey:
    """A key that nobody else can change before this transaction ends, and its row's id."""

    id: int
    key: ProjectKey
    project: Project


_LOCK_ONE: Final = f"""
    SELECT key.id AS key_id, {KEY_COLUMNS}, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE organization.id = $1 AND project.id = $2 AND key.public_key = $3 AND project.deleted_at IS NULL
    FOR UPDATE OF key
"""  # noqa: S608 -- the columns are constants


async def lock_key(connection: Connection, project: Project, public_key: str) -> LockedKey | None:
    """A key of ``project``, with the project as it is now; None if there is none."""
    row = await connection.fetchrow(_LOCK_ONE, project.organization.id, project.id, public_key)
    return None if row is None else _locked(row)


_LOCK_MANY: Final = f"""
    SELECT key.id AS key_id, {KEY_COLUMNS}, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE ($1::bigint IS NULL OR project.organization_id = $1)
      AND ($2::bigint IS NULL OR key.project_id = $2)
      AND ($3::timestamptz IS NULL OR key.created_at >= $3)
      AND key.id > $4
    ORDER BY key.id
    LIMIT $5
    FOR UPDATE OF key
"""  # noqa: S608 -- the columns are constants


@dataclass(frozen=True, slots=True)
class Batch:
    """Which keys a batch is taken from; None is all organizations, all projects."""

    organization_id: int | None
    project_id: int | None
    made_since: datetime | None = None
    after_id: int = 0


async def lock_keys(connection: Connection, batch: Batch, *, limit: int) -> list[LockedKey]:
    """The next keys of a batch, in the order of their row ids, at most ``limit``."""
    rows = await connection.fetch(
        _LOCK_MANY, batch.organization_id, batch.project_id, batch.made_since, batch.after_id, limit
    )
    return [_locked(row) for row in rows]


_UPDATE: Final = """
    UPDATE project_key AS key
    SET label = $4, is_active = $5, rate_limit_count = $6, rate_limit_window = $7, browser_sdk_version = $8,
        loader_options = $9, version = $10, updated_at = $11
    FROM project
    WHERE project.id = key.project_id AND project.organization_id = $1 AND project.id = $2 AND key.public_key = $3
"""


async def update_key(connection: Connection, project: Project, key: ProjectKey, event: Event) -> OutboxRow:
    """Write a locked key's next state with its event; returns the event's row."""
    limit = key.rate_limit
    await connection.execute(
        _UPDATE,
        project.organization.id,
        project.id,
        key.public_key,
        key.label,
        key.is_active,
        limit and limit.count,
        limit and limit.window,
        key.browser_sdk_version,
        loader_options_column(key.loader_options),
        key.version,
        event.occurred_at,
    )
    [row] = await insert_events(connection, [event])
    return row


_NEXT_VERSION: Final = """
    UPDATE project_key AS key
    SET version = key.version + 1, updated_at = $2
    FROM project
    WHERE project.id = key.project_id AND project.organization_id = $1 AND key.id = ANY($3::bigint[])
"""


async def raise_versions(
    connection: Connection, organization_id: int, locked: Sequence[LockedKey], events: Sequence[Event]
) -> list[OutboxRow]:
    """Give locked keys of an organization their next version, each with its event; returns the events' rows."""
    ids = [one.id for one in locked]
    await connection.execute(_NEXT_VERSION, organization_id, events[0].occurred_at, ids)
    return await insert_events(connection, events)


_DELETE: Final = """
    WITH gone AS (
        DELETE FROM project_key AS key
        USING project
        WHERE project.id = key.project_id AND project.organization_id = $1 AND key.id = ANY($2::bigint[])
        RETURNING key.public_key, key.project_id, key.version
    )
    INSERT INTO deleted_key (public_key, organization_id, project_id, version, deleted_at)
    SELECT public_key, $1, project_id, version + 1, $3 FROM gone
"""


async def delete_keys(
    connection: Connection, organization_id: int, locked: Sequence[LockedKey], events: Sequence[Event]
) -> list[OutboxRow]:
    """Delete locked keys of an organization, each with its event; returns the events' rows."""
    ids = [one.id for one in locked]
    await connection.execute(_DELETE, organization_id, ids, events[0].occurred_at)
    return await insert_events(connection, events)


def _locked(row: asyncpg.Record) -> LockedKey:
    return LockedKey(id=row["key_id"], key=key_from_row(row), project=project_from_row(row))
