"""The table audit_entry, the audit log: who changed what. It never contains a secret."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from service.domain.audit import AuditEntry, AuditRecord, AuditSearch
from service.domain.pagination import Page
from service.postgres.database import Connection

_INSERT: Final = """
    INSERT INTO audit_entry (
        organization_id, project_id, token_id, action, target, request_id, remote_address, data, change_id
    )
    SELECT organization_id, project_id, token_id, action, target, request_id, remote_address, data, change_id
    FROM json_to_recordset($1) AS new (
        organization_id bigint, project_id bigint, token_id bigint, action text, target text, request_id text,
        remote_address text, data json, change_id uuid
    )
"""


async def insert_audit_records(connection: Connection, records: Sequence[AuditRecord]) -> None:
    """Insert the records of changes, in the transaction of the changes."""
    rows = [
        {
            "organization_id": record.organization_id,
            "project_id": record.project_id,
            "token_id": record.origin.token_id,
            "action": record.action,
            "target": record.target,
            "request_id": record.origin.request_id,
            "remote_address": record.origin.remote_address,
            "data": record.data,
            "change_id": record.change_id,
        }
        for record in records
    ]
    await connection.execute(_INSERT, orjson.dumps(rows).decode())


# A lock is written to the WAL, so the commit waits for a synchronous standby; otherwise the change could be reported
# although its own COMMIT was cancelled while it waited for the standby.
_IS_RECORDED: Final = """
    SELECT true
    FROM organization
    WHERE id = $1 AND EXISTS (
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
    FOR KEY SHARE
"""

_NEWEST: Final = 100_000
"""The number of entries to search: more than are inserted for an organization during one request."""


async def is_recorded(connection: Connection, *, organization_id: int, change_id: UUID) -> bool:
    """Return whether a recent change was committed; the commit of this transaction confirms it."""
    return bool(await connection.fetchval(_IS_RECORDED, organization_id, change_id, _NEWEST))


_ENTRIES: Final = """
    entry.id, entry.organization_id, organization.slug AS organization_slug, entry.project_id, entry.token_id,
    token.name AS token_name, entry.action, entry.target, entry.request_id, entry.remote_address, entry.data,
    entry.change_id, entry.created_at
    FROM audit_entry AS entry
    LEFT JOIN organization ON organization.id = entry.organization_id
    LEFT JOIN api_token AS token ON token.id = entry.token_id
"""

_FILTERS: Final = {
    "entry.project_id": "($1::bigint IS NULL OR entry.project_id = $1)",
    "entry.token_id": "($2::bigint IS NULL OR entry.token_id = $2)",
    "entry.action": "($3::text IS NULL OR entry.action = $3)",
    "entry.target": "($4::text IS NULL OR entry.target = $4)",
    "entry.created_at": "($5::timestamptz IS NULL OR entry.created_at >= $5)",
}


def _page(columns: str, values: str, *, newer: bool = False) -> str:
    """Return a statement that reads an index on ``columns`` and the id, where they have ``values``.

    It reads backwards from $6 or, if ``newer``, forwards from the first entry after $6. The columns are bounded from
    both sides and never compared for equality: otherwise Postgres may take another index for the order and read the
    entries of other organizations.
    """
    after, bound, order = (">", "<=", "") if newer else ("<=", ">=", " DESC")
    return f"""
        SELECT {_ENTRIES}
        WHERE ({columns}, entry.id) {after} ({values}, $6::bigint) AND ({columns}) {bound} ({values})
        AND {_filters_without(columns)}
        ORDER BY {", ".join(f"{column}{order}" for column in columns.split(", "))}, entry.id{order}
        OFFSET $7 LIMIT $8
    """


def _filters_without(columns: str) -> str:
    return " AND ".join(text for column, text in _FILTERS.items() if column not in columns.split(", "))


_OLDER: Final = _page("entry.organization_id", "$9")
_NEWER: Final = _page("entry.organization_id", "$9", newer=True)
_OLDER_OF_TARGET: Final = _page("entry.target, entry.organization_id", "$4::text, $9")
_NEWER_OF_TARGET: Final = _page("entry.target, entry.organization_id", "$4::text, $9", newer=True)
_OLDER_OF_TOKEN: Final = _page("entry.token_id, entry.organization_id", "$2::bigint, $9")
_NEWER_OF_TOKEN: Final = _page("entry.token_id, entry.organization_id", "$2::bigint, $9", newer=True)
_OLDER_OF_ACTION: Final = _page("entry.action, entry.organization_id", "$3::text, $9")
_NEWER_OF_ACTION: Final = _page("entry.action, entry.organization_id", "$3::text, $9", newer=True)


def _statement(search: AuditSearch, *, newer: bool) -> str:
    """Return the statement that reads the fewest entries: of one target, else one token, else one action."""
    if search.target is not None:
        return _NEWER_OF_TARGET if newer else _OLDER_OF_TARGET
    if search.token_id is not None:
        return _NEWER_OF_TOKEN if newer else _OLDER_OF_TOKEN
    if search.action is not None:
        return _NEWER_OF_ACTION if newer else _OLDER_OF_ACTION
    return _NEWER if newer else _OLDER


async def select_entries(
    connection: Connection, organization_id: int, search: AuditSearch, page: Page
) -> list[AuditEntry]:
    """Return the entries of an organization that match ``search``, newest first."""
    statement = _statement(search, newer=page.newer)
    rows = await connection.fetch(statement, *_arguments(search, page), organization_id)
    entries = [_from_row(row) for row in rows]
    return entries[::-1] if page.newer else entries


_OF_ALL: Final = f"""
    SELECT {_ENTRIES}
    WHERE entry.id <= $6 AND {_filters_without("")}
    ORDER BY entry.id DESC
    OFFSET $7 LIMIT $8
"""


async def select_entries_of_all(connection: Connection, search: AuditSearch, page: Page) -> list[AuditEntry]:
    """Return the entries that match ``search`` of all organizations and of none, newest first."""
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
