"""The table audit_entry: who did what. Never a secret."""

from typing import Any, Final

import orjson

from service.domain.model import Origin
from service.postgres.database import Connection

_INSERT: Final = """
    INSERT INTO audit_entry (
        organization_id, project_id, token_id, action, target, request_id, remote_address, data
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
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
) -> None:
    """Record a change, in its own transaction."""
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
    )
