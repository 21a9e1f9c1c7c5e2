"""The table audit_entry: who did what. Never a secret."""

from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from service.domain.audit import Action, AuditEntry, AuditSearch
from service.domain.model import Origin
from service.domain.pagination import Page
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
    organization_id: int | None,
    project_id: int | None,
    action: Action,
    target: str,
    data: dict[str, Any],
    origin: Origin,
    change_id: UUID,
) -> None:
    """Record a change, in its own transaction.

    ``organization_id`` None is the installation itself; ``change_id`` is the event's id where there is one.
    """
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
        FROM (
            SELECT change_id
            FROM audit_entry
            WHERE organization_id >= $1 AND organization_id <= $1
            ORDER BY organization_id DESC, id DESC
            LIMIT $3
        ) AS newest
        WHERE change_id = $2
    )
"""

_NEWEST: Final = 100_000
"""Entries that are looked at: more than one organization can get in the time of a request."""


async def is_recorded(connection: Connection, *, organization_id: int, change_id: UUID) -> bool:
    """Whether a change was committed that was tried a moment ago."""
    return bool(await connection.fetchval(_IS_RECORDED, organization_id, change_id, _NEWEST))


_ENTRIES: Final = """
    entry.id, entry.organization_id, organization.slug AS organization_slug, entry.project_id, entry.token_id,
    token.name AS token_name, entry.action, entry.target, entry.request_id, entry.remote_address, entry.data,
    entry.change_id, entry.created_at
    FROM audit_entry AS entry
    LEFT JOIN organization ON organization.id = entry.organization_id
    LEFT JOIN api_token AS token ON token.id = entry.token_id
"""

_FOUND: Final = """
    ($1::bigint IS NULL OR entry.project_id = $1) AND ($2::bigint IS NULL OR entry.token_id = $2)
    AND ($3::text IS NULL OR entry.action = $3) AND ($4::text IS NULL OR entry.target = $4)
    AND ($5::timestamptz IS NULL OR entry.created_at >= $5)
"""

# Written as stretches of the index by organization, in its order: Postgres would rather walk past others' entries.
_OLDER: Final = f"""
    SELECT {_ENTRIES}
    WHERE (entry.organization_id, entry.id) <= ($9, $6::bigint) AND entry.organization_id >= $9 AND {_FOUND}
    ORDER BY entry.organization_id DESC, entry.id DESC
    OFFSET $7 LIMIT $8
"""

_NEWER: Final = f"""
    SELECT {_ENTRIES}
    WHERE (entry.organization_id, entry.id) > ($9, $6::bigint) AND entry.organization_id <= $9 AND {_FOUND}
    ORDER BY entry.organization_id, entry.id
    OFFSET $7 LIMIT $8
"""


async def select_entries(
    connection: Connection, organization_id: int, search: AuditSearch, page: Page
) -> list[AuditEntry]:
    """The entries of one organization that were asked for, newest first."""
    statement = _NEWER if page.newer else _OLDER
    rows = await connection.fetch(statement, *_arguments(search, page), organization_id)
    entries = [_from_row(row) for row in rows]
    return entries[::-1] if page.newer else entries


_OF_ALL: Final = f"""
    SELECT {_ENTRIES} WHERE entry.id <= $6 AND {_FOUND} ORDER BY entry.id DESC OFFSET $7 LIMIT $8
"""


async def select_entries_of_all(connection: Connection, search: AuditSearch, page: Page) -> list[AuditEntry]:
    """The entries of every organization, and of the installation itself, that were asked for, newest first."""
    return [_from_row(row) for row in await connection.fetch(_OF_ALL, *_arguments(search, page))]


def _arguments(search: AuditSearch, page: Page) -> tuple[object, ...]:
    return (
        search.project_id,
        search.token_id,
        search.action,
        search.target,
        search.since,
        page.first,
        page.skip,
        page.limit,
    )


def _from_row(row: asyncpg.Record) -> AuditEntry:
    return AuditEntry(**{**dict(row.items()), "data": orjson.loads(row["data"])})
