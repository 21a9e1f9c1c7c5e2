"""Writes of the table project_key, each with its events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import orjson

from service.domain.audit import Action
from service.domain.errors import IdempotencyKeyInUseError, NotFoundError
from service.domain.events import (
    Event,
    OutboxRow,
    loader_options_to_json,
    rate_limit_to_json,
    time_to_json,
    with_key_id,
)
from service.domain.idempotency import IdempotencyKey
from service.domain.model import Origin, Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.idempotency import CONSTRAINT
from service.postgres.key_locks import LockedKey
from service.postgres.outbox import insert_events


class BatchRejectedError(Exception):
    """Postgres rejected a row of a batch of several keys: nothing was inserted; insert each key by itself."""


@dataclass(slots=True)  # not frozen: see `NewProjectKey`
class PreparedWrite:
    """A write of a key that is not committed yet, with everything that is committed together with it.

    Attributes:
        project: The project of the key, as it was when the event was created.
        key: The key in the version of the event; the last state of a key that is deleted.
        event: The event. Its type determines whether `key_changes` updates or deletes the key.
        origin: The origin of the write.
        action: The action of the audit entry.
        data: The data of the audit entry; None means those of a new key.
        rotated_to: The public key of the successor, if the write is the rotation of the key.
        idempotency_key: The idempotency key of the request that creates the key.
    """

    project: Project
    key: ProjectKey
    event: Event
    origin: Origin
    action: Action = "projectkey.create"
    data: dict[str, Any] | None = None
    rotated_to: str | None = None
    idempotency_key: IdempotencyKey | None = None


# OFFSET 0 forces a lookup by the id: without statistics, Postgres may read all projects instead.
_INSERT: Final = """
    WITH new AS (
        SELECT *
        FROM json_to_recordset($1) AS new (
            organization_id bigint, project_id bigint, label text, public_key text, secret_key text,
            rate_limit_count integer, rate_limit_window integer, browser_sdk_version text, loader_options json,
            version bigint, created_at timestamptz, expires_at timestamptz, event_id uuid, event_type text,
            shard smallint, payload json, headers json, token_id bigint, request_id text, remote_address text,
            audit_data json, idempotency_key text, fingerprint bytea
        )
    ),
    new_key AS (
        INSERT INTO project_key (
            project_id, label, public_key, secret_key, rate_limit_count, rate_limit_window, browser_sdk_version,
            loader_options, version, created_at, updated_at, expires_at
        )
        SELECT new.project_id, label, public_key, secret_key, rate_limit_count, rate_limit_window,
               browser_sdk_version, loader_options, version, new.created_at, new.created_at, expires_at
        FROM new
        CROSS JOIN LATERAL (
            SELECT organization_id FROM project WHERE id = new.project_id AND deleted_at IS NULL OFFSET 0
        ) AS project
        WHERE project.organization_id = new.organization_id
        ON CONFLICT DO NOTHING
        RETURNING id, public_key, version
    ),
    new_event AS (
        INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, created_at)
        SELECT new.event_id, new_key.public_key, new.event_type, new_key.version, new.shard,
               ('{"keyId":' || new_key.id || ',' || substr(new.payload::text, 2))::json,
               new.headers, new.created_at
        FROM new_key
        JOIN new USING (public_key)
        RETURNING aggregateid, seq
    ),
    new_audit_entry AS (
        INSERT INTO audit_entry (
            organization_id, project_id, token_id, action, target, request_id, remote_address, data, change_id,
            created_at
        )
        SELECT new.organization_id, new.project_id, new.token_id, 'projectkey.create', new_key.public_key,
               new.request_id, new.remote_address, new.audit_data, new.event_id, new.created_at
        FROM new_key
        JOIN new USING (public_key)
    ),
    new_idempotency AS (
        INSERT INTO idempotency (token_id, key, fingerprint, target_id, event_id)
        SELECT coalesce(new.token_id, 0), -- a command has none
               new.idempotency_key, new.fingerprint, new_key.id, new.event_id
        FROM new_key
        JOIN new USING (public_key)
        WHERE new.idempotency_key IS NOT NULL
    )
    SELECT new_event.aggregateid, new_event.seq, new_key.id
    FROM new_event
    JOIN new_key ON new_key.public_key = new_event.aggregateid
"""


async def insert_keys(connection: Connection, batch: Sequence[PreparedWrite]) -> list[OutboxRow]:
    """Insert keys with their events, audit entries and idempotency keys in one statement.

    A key is not inserted if its project does not exist in its organization, or if its public or secret key is in use.

    Args:
        connection: Outside a transaction, the statement is a transaction of its own.
        batch: Keys with different public keys.

    Returns:
        The outbox rows of the inserted keys, in the order of ``batch``.

    Raises:
        BatchRejectedError: Postgres rejected a row of several.
        IdempotencyKeyInUseError: A concurrent transaction used the idempotency key of the only row.
        NotFoundError: The project of the only row is being deleted.
    """
    # One document: asyncpg takes longer for 22 arrays than Postgres takes to read it.
    values = orjson.dumps(list(map(write_row, batch))).decode()
    try:
        records = await connection.fetch(_INSERT, values)
    except asyncpg.PostgresError as error:
        if connection.is_closed():
            raise
        if len(batch) > 1:
            raise BatchRejectedError from None
        match error:
            case asyncpg.UniqueViolationError(constraint_name=constraint) if constraint == CONSTRAINT:
                raise IdempotencyKeyInUseError("another process has just used the idempotency key") from None
            case asyncpg.ForeignKeyViolationError():
                raise NotFoundError("the project is being deleted") from None
        raise
    stored = {}
    for public_key, seq, key_id in records:
        stored[public_key] = seq, key_id
    rows = []
    for prepared in batch:
        if prepared.event.public_key in stored:
            seq, key_id = stored[prepared.event.public_key]
            # The prepared event is unchanged: it has no id while the transaction may be repeated.
            rows.append(OutboxRow(seq, with_key_id(prepared.event, key_id)))
    return rows


def write_row(prepared: PreparedWrite) -> dict[str, object]:
    """Return the values of ``new`` in the statements that insert and change keys; each uses some of them.

    Postgres stores the bytes of ``payload``, which the record has as well; `insert_keys` adds the id of the key.
    """
    project, key, event, origin = prepared.project, prepared.key, prepared.event, prepared.origin
    limit, idempotency_key = key.rate_limit, prepared.idempotency_key
    return {
        "organization_id": project.organization.id,
        "project_id": project.id,
        "ingest_url": project.organization.ingest_url,
        "label": key.label,
        "public_key": key.public_key,
        "secret_key": key.secret_key,
        "is_active": key.is_active,
        "rate_limit_count": limit and limit.count,
        "rate_limit_window": limit and limit.window,
        "browser_sdk_version": key.browser_sdk_version,
        "loader_options": loader_options_to_json(key.loader_options),
        "version": key.version,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "rotated_to": prepared.rotated_to,
        "event_id": event.id,
        "event_type": event.type,
        "shard": event.shard,
        "payload": orjson.Fragment(event.payload),
        "headers": event.headers,
        "occurred_at": event.occurred_at,
        "token_id": origin.token_id,
        "request_id": origin.request_id,
        "remote_address": origin.remote_address,
        "action": prepared.action,
        "audit_data": {
            "name": key.label,
            "rateLimit": limit and rate_limit_to_json(limit),
            **({"expiresAt": time_to_json(key.expires_at)} if key.expires_at else {}),
        }
        if prepared.data is None
        else prepared.data,
        "idempotency_key": idempotency_key and idempotency_key.text,
        "fingerprint": idempotency_key and rf"\x{idempotency_key.fingerprint.hex()}",
    }


_UPDATE_VERSIONS: Final = """
    UPDATE project_key AS key
    SET version = next.version, updated_at = $2
    FROM project, unnest($3::bigint[], $4::bigint[]) AS next (id, version)
    WHERE project.id = key.project_id AND ($1::bigint IS NULL OR project.organization_id = $1)
      AND key.id = next.id
"""


async def update_versions(
    connection: Connection,
    organization_id: int | None,
    locked: Sequence[LockedKey],
    events: Sequence[Event],
) -> list[OutboxRow]:
    """Write the versions of the events of locked keys; return the outbox rows.

    ``organization_id`` None means keys of any organization.
    """
    ids, versions = [key.id for key in locked], [event.version for event in events]
    await connection.execute(_UPDATE_VERSIONS, organization_id, events[0].occurred_at, ids, versions)
    return await insert_events(connection, events)


# The subquery forces lookups by ids: without statistics, Postgres may read all projects instead.
_DELETE: Final = """
    WITH deleted AS (
        DELETE FROM project_key AS key
        WHERE key.id = ANY($2::bigint[]) AND (SELECT organization_id FROM project WHERE id = key.project_id) = $1
        RETURNING key.public_key, key.project_id, key.version
    )
    INSERT INTO deleted_key (public_key, organization_id, project_id, version, deleted_at)
    SELECT public_key, $1, project_id, version + 1, $3 FROM deleted
"""


async def delete_keys(
    connection: Connection, organization_id: int, locked: Sequence[LockedKey], events: Sequence[Event]
) -> list[OutboxRow]:
    """Delete locked keys of an organization, each with its event; return the outbox rows."""
    ids = [key.id for key in locked]
    await connection.execute(_DELETE, organization_id, ids, events[0].occurred_at)
    return await insert_events(connection, events)
