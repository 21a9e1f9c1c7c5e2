"""Updates and deletions of keys of the table project_key that were read before, each with its event."""

from collections.abc import Sequence
from typing import Final

import orjson

from service.domain.events import OutboxRow
from service.postgres.database import Connection
from service.postgres.key_writes import PreparedWrite, write_row

# SKIP LOCKED: a batch waits for no lock, so a locked key delays no other one, and no deadlock is possible. The row of
# a key is locked before `new_event` draws the seq of its event. FOR UPDATE in a subquery forces a lookup by the
# public key, as OFFSET 0 does; `+ 0` excludes the index of the project.
_CHANGE: Final = """
    WITH locked AS (
        SELECT key.ctid, new.*
        FROM json_to_recordset($1) AS new (
            organization_id bigint, project_id bigint, ingest_url text, public_key text, label text,
            is_active boolean, rate_limit_count integer, rate_limit_window integer, browser_sdk_version text,
            loader_options json, expires_at timestamptz, rotated_to text, version bigint, event_id uuid,
            event_type text, shard smallint, payload json, headers json, occurred_at timestamptz, token_id bigint,
            request_id text, remote_address text, action text, audit_data json
        )
        CROSS JOIN LATERAL (
            SELECT organization_id FROM project WHERE id = new.project_id AND deleted_at IS NULL OFFSET 0
        ) AS project
        CROSS JOIN LATERAL (
            SELECT ingest_url FROM organization WHERE id = project.organization_id OFFSET 0
        ) AS organization
        CROSS JOIN LATERAL (
            SELECT ctid
            FROM project_key
            WHERE public_key = new.public_key AND project_id + 0 = new.project_id AND version = new.version - 1
            FOR UPDATE SKIP LOCKED
        ) AS key
        WHERE project.organization_id = new.organization_id
          AND organization.ingest_url IS NOT DISTINCT FROM new.ingest_url
    ),
    updated AS (
        UPDATE project_key AS key
        SET label = locked.label, is_active = locked.is_active, rate_limit_count = locked.rate_limit_count,
            rate_limit_window = locked.rate_limit_window, browser_sdk_version = locked.browser_sdk_version,
            loader_options = locked.loader_options, expires_at = locked.expires_at,
            rotated_to = coalesce(locked.rotated_to, key.rotated_to), version = locked.version,
            updated_at = locked.occurred_at
        FROM locked
        WHERE key.ctid = locked.ctid AND locked.event_type <> 'projectkey.deleted'
        RETURNING locked.*
    ),
    deleted AS (
        DELETE FROM project_key AS key
        USING locked
        WHERE key.ctid = locked.ctid AND locked.event_type = 'projectkey.deleted'
        RETURNING locked.*
    ),
    new_deleted_key AS (
        INSERT INTO deleted_key (public_key, organization_id, project_id, version, deleted_at)
        SELECT public_key, organization_id, project_id, version, occurred_at FROM deleted
    ),
    changed AS (SELECT * FROM updated UNION ALL SELECT * FROM deleted),
    new_audit_entry AS (
        INSERT INTO audit_entry (
            organization_id, project_id, token_id, action, target, request_id, remote_address, data, change_id,
            created_at
        )
        SELECT organization_id, project_id, token_id, action, public_key, request_id, remote_address, audit_data,
               event_id, occurred_at
        FROM changed
    ),
    new_event AS (
        INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, created_at)
        SELECT event_id, public_key, event_type, version, shard, payload, headers, occurred_at FROM changed
        RETURNING id, seq
    )
    SELECT id, seq FROM new_event
"""


async def change_keys(connection: Connection, batch: Sequence[PreparedWrite]) -> list[OutboxRow]:
    """Update and delete keys with their events and audit entries in one statement.

    A key is left out if it is locked, deleted or in another version than the one before that of ``batch``, if its
    project is deleted, or if the ingest URL of its organization is another one: the DSN in the event would be wrong.

    Args:
        connection: Outside a transaction, the statement is a transaction of its own.
        batch: Changes of different keys.

    Returns:
        The outbox rows of the changed keys.

    Raises:
        PostgresError: Postgres rejected a row; nothing was changed.
    """
    rows = orjson.dumps(list(map(write_row, batch))).decode()
    seqs = {record["id"]: record["seq"] for record in await connection.fetch(_CHANGE, rows)}
    return [
        OutboxRow(seq=seqs[prepared.event.id], event=prepared.event)
        for prepared in batch
        if prepared.event.id in seqs
    ]
