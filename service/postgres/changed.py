"""Changes of keys that exist: each under the lock of its row, with its event."""

from collections.abc import Sequence
from typing import Final

from service.domain.events import Event, OutboxRow
from service.domain.model import Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.key_locks import LockedKey
from service.postgres.keys import loader_options_column
from service.postgres.outbox import insert_events

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


_RAISE: Final = """
    UPDATE project_key AS key
    SET version = raised.version, updated_at = $2
    FROM project, unnest($3::bigint[], $4::bigint[]) AS raised (id, version)
    WHERE project.id = key.project_id AND ($1::bigint IS NULL OR project.organization_id = $1)
      AND key.id = raised.id
"""


async def raise_versions(
    connection: Connection,
    organization_id: int | None,
    locked: Sequence[LockedKey],
    events: Sequence[Event],
) -> list[OutboxRow]:
    """Give locked keys of an organization, or of any for None, the versions that their events tell of.

    Returns the events' rows.
    """
    ids, versions = [one.id for one in locked], [event.version for event in events]
    await connection.execute(_RAISE, organization_id, events[0].occurred_at, ids, versions)
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
