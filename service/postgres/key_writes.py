"""New keys, each with its event and its audit entry, in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from service.domain.events import Event, OutboxRow, rate_limit_to_json
from service.domain.idempotency import IdempotencyKey
from service.domain.model import Origin, Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.keys import loader_options_column


@dataclass(frozen=True, slots=True)
class PreparedKey:
    """A key that is about to be committed, with all that is committed beside it."""

    project: Project
    key: ProjectKey
    event: Event
    origin: Origin
    idempotency_key: IdempotencyKey | None = None


_INSERT: Final = """
    WITH asked AS (
        SELECT *
        FROM unnest(
            $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::text[],
            $9::json[], $10::timestamptz[], $11::uuid[], $12::text[], $13::smallint[], $14::json[], $15::json[],
            $16::bigint[], $17::text[], $18::text[], $19::json[], $20::bigint[], $21::text[], $22::bytea[]
        ) AS asked (
            organization_id, project_id, label, public_key, secret_key, rate_limit_count, rate_limit_window,
            browser_sdk_version, loader_options, created_at, event_id, event_type, shard, payload, headers,
            token_id, request_id, remote_address, audit_data, version, idempotency_key, fingerprint
        )
    ),
    new_key AS (
        INSERT INTO project_key (
            project_id, label, public_key, secret_key, rate_limit_count, rate_limit_window, browser_sdk_version,
            loader_options, version, created_at, updated_at
        )
        SELECT project.id, label, public_key, secret_key, rate_limit_count, rate_limit_window, browser_sdk_version,
               loader_options, version, asked.created_at, asked.created_at
        FROM asked
        JOIN project ON project.id = asked.project_id AND project.organization_id = asked.organization_id
        WHERE project.deleted_at IS NULL
        ON CONFLICT DO NOTHING
        RETURNING id, public_key, version
    ),
    new_event AS (
        INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, created_at)
        SELECT asked.event_id, new_key.public_key, asked.event_type, new_key.version, asked.shard, asked.payload,
               asked.headers, asked.created_at
        FROM new_key
        JOIN asked USING (public_key)
        RETURNING aggregateid, seq
    ),
    new_audit_entry AS (
        INSERT INTO audit_entry (
            organization_id, project_id, token_id, action, target, request_id, remote_address, data, change_id,
            created_at
        )
        SELECT asked.organization_id, asked.project_id, asked.token_id, 'projectkey.create', new_key.public_key,
               asked.request_id, asked.remote_address, asked.audit_data, asked.event_id, asked.created_at
        FROM new_key
        JOIN asked USING (public_key)
    ),
    new_idempotency AS (
        INSERT INTO idempotency (token_id, key, fingerprint, target_id, event_id)
        SELECT asked.token_id, asked.idempotency_key, asked.fingerprint, new_key.id, asked.event_id
        FROM new_key
        JOIN asked USING (public_key)
        WHERE asked.idempotency_key IS NOT NULL
    )
    SELECT aggregateid, seq FROM new_event
"""


async def insert_keys(connection: Connection, batch: Sequence[PreparedKey]) -> list[OutboxRow | None]:
    """Insert keys, events and audit entries: one statement, so all three of a key or none.

    Returns:
        For each of ``batch`` its outbox row, or None where there is no such project in this organization or one
        of the key's halves is in use.

    Args:
        connection: outside a transaction the statement is one of its own.
        batch: no two with the same public key.

    Raises:
        UniqueViolationError: of idempotency's `CONSTRAINT`; another request with this key was quicker.
        ForeignKeyViolationError: a project was deleted in this moment.
    """
    rows = (_row(issued) for issued in batch)
    records = await connection.fetch(_INSERT, *zip(*rows, strict=True))
    seqs: dict[str, int] = {record["aggregateid"]: record["seq"] for record in records}
    return [
        None if (seq := seqs.get(issued.event.public_key)) is None else OutboxRow(seq=seq, event=issued.event)
        for issued in batch
    ]


def _row(issued: PreparedKey) -> tuple[object, ...]:
    key, event, origin = issued.key, issued.event, issued.origin
    limit, once = key.rate_limit, issued.idempotency_key
    return (
        issued.project.organization.id,
        issued.project.id,
        key.label,
        key.public_key,
        key.secret_key,
        limit and limit.count,
        limit and limit.window,
        key.browser_sdk_version,
        loader_options_column(key.loader_options),
        key.created_at,
        event.id,
        event.type,
        event.shard,
        event.payload,
        orjson.dumps(event.headers).decode(),
        origin.token_id,
        origin.request_id,
        origin.remote_address,
        orjson.dumps({"name": key.label, "rateLimit": rate_limit_to_json(limit)}).decode(),
        key.version,
        once and once.text,
        once and once.fingerprint,
    )
