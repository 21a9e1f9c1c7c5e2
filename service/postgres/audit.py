"""The table audit_entry: who did what. Never a secret."""

from typing import Any, Final
from uuid import UUID

import orjson

from service.domain.model import Origin
from service.postgres.database import Connection

_INSERT: Final = """
    INSERT INTO audit_entry (
        organization_id, project_id, token_id, action, target, request_id, remote_address, data, change_id
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def insert_audit_entry(
    connection: Connection,
    *,
    organization_id: int,
    project_id: int | None,
    action: str,
    target: str,
    data: dict[str, Any],
    origin: Origin,
    change_id: UUID,
) -> None:
    """Record a change, in its own transaction; ``change_id`` is the event's id where there is one."""
    await connection.execute(
        _INSERT,
        organization_id,
        project_id,
        origin.token_id,
        action,
        target,
        origin.request_id,
        origin.remote_address,
        orjson.dumps(data).decode(),
        change_id,
    )


_IS_RECORDED: Final = """
    SELECT EXISTS (
        SELECT
        FROM (SELECT change_id FROM audit_entry WHERE organization_id = $1 ORDER BY id DESC LIMIT $3) AS newest
        WHERE change_id = $2
    )
"""

_NEWEST: Final = 100_000
"""Entries that are looked at: more than one organization can get in the time of a request."""


async def is_recorded(connection: Connection, *, organization_id: int, change_id: UUID) -> bool:
    """Whether a change was committed that was tried a moment ago."""
    return bool(await connection.fetchval(_IS_RECORDED, organization_id, change_id, _NEWEST))
