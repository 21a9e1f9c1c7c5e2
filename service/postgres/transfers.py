"""Statements of `import` and `export`, which the owner of the tables runs on the rows of all tenants."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from service.domain.errors import BusyError
from service.domain.events import with_key_id
from service.domain.model import Organization, Origin, Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.key_writes import PreparedWrite, write_row
from service.postgres.keys import KEY_COLUMNS, key_from_row
from service.postgres.organizations import ORGANIZATION_COLUMNS, organization_from_row
from service.postgres.outbox import insert_events
from service.postgres.projects import PROJECT_COLUMNS, project_from_row

# Any number that no other program locks.
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(7346198203)"
_UNLOCK: Final = "SELECT pg_advisory_unlock(7346198203)"


@asynccontextmanager
async def only_import(connection: Connection) -> AsyncIterator[None]:
    """Hold a lock of the session for the block; the end of the session releases it.

    Raises:
        BusyError: Another session holds the lock.
    """
    if not await connection.fetchval(_TRY_LOCK):
        raise BusyError("another import is running: wait until it has ended")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(_UNLOCK)


_SELECT_ORGANIZATIONS: Final = f"""
    SELECT {ORGANIZATION_COLUMNS}
    FROM organization
    WHERE id = ANY($1::bigint[] || ARRAY(SELECT id FROM organization WHERE slug = ANY($2::text[])))
"""


async def select_organizations(
    connection: Connection, ids: Sequence[int], slugs: Sequence[str]
) -> list[Organization]:
    """Return the organizations that have one of ``ids`` or one of ``slugs``."""
    return [organization_from_row(row) for row in await connection.fetch(_SELECT_ORGANIZATIONS, ids, slugs)]


@dataclass(frozen=True, slots=True)
class KnownProject:
    """A project, its former slugs, and whether it is being deleted."""

    project: Project
    former_slugs: Sequence[str]
    is_deleted: bool


_LOCK_ORGANIZATIONS: Final = """
    SELECT FROM organization
    WHERE id = ANY(ARRAY(SELECT organization_id FROM project WHERE id = ANY($1::bigint[])))
    ORDER BY id
    FOR SHARE
"""


async def lock_organizations(connection: Connection, project_ids: Sequence[int]) -> None:
    """Prevent changes of ingest URLs until the transaction ends: their jobs find only keys committed before."""
    await connection.execute(_LOCK_ORGANIZATIONS, project_ids)


# ORDER BY forces a lookup by the slug: without statistics, Postgres may read all projects of the organization.
_SELECT_PROJECTS: Final = f"""
    SELECT {PROJECT_COLUMNS}, project.deleted_at IS NOT NULL AS is_deleted,
           ARRAY(SELECT slug FROM project_slug_redirect WHERE project_id = project.id) AS former_slugs
    FROM project
    JOIN organization ON organization.id = project.organization_id
    WHERE project.id = ANY($1::bigint[] || ARRAY(
        SELECT nearest.id
        FROM unnest($2::text[], $3::text[]) AS wanted (organization, slug)
        JOIN organization AS owner ON owner.slug = wanted.organization
        CROSS JOIN LATERAL (
            SELECT named.id, named.slug
            FROM project AS named
            WHERE named.organization_id = owner.id AND named.slug >= wanted.slug AND named.deleted_at IS NULL
            ORDER BY named.slug
            LIMIT 1
        ) AS nearest
        WHERE nearest.slug = wanted.slug
    ))
"""


async def select_projects(
    connection: Connection, ids: Sequence[int], paths: Sequence[tuple[str, str]] = ()
) -> list[KnownProject]:
    """Return the projects that have one of ``ids``, or one of ``paths``: the slugs of organization and project."""
    owners, slugs = [path[0] for path in paths], [path[1] for path in paths]
    rows = await connection.fetch(_SELECT_PROJECTS, ids, owners, slugs)
    return [KnownProject(project_from_row(row), row["former_slugs"], row["is_deleted"]) for row in rows]


_SELECT_KEYS: Final = f"""
    SELECT {KEY_COLUMNS}, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE key.id = ANY(
        ARRAY(SELECT id FROM project_key WHERE public_key = ANY($1::text[]))
        || ARRAY(SELECT id FROM project_key WHERE secret_key = ANY($2::text[]))
    )
"""


async def select_keys(
    connection: Connection, public_keys: Sequence[str], secret_keys: Sequence[str]
) -> list[tuple[ProjectKey, Project]]:
    """Return the keys that have one of ``public_keys`` or one of ``secret_keys``."""
    rows = await connection.fetch(_SELECT_KEYS, public_keys, secret_keys)
    return [(key_from_row(row), project_from_row(row)) for row in rows]


_LOCK_INSERTS: Final = "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"
_RAISE_SEQUENCE: Final = """
    SELECT setval(pg_get_serial_sequence($1, 'id')::regclass, $2)
    FROM pg_sequences
    WHERE schemaname || '.' || sequencename = pg_get_serial_sequence($1, 'id') AND coalesce(last_value, 0) < $2
"""


async def raise_sequence(connection: Connection, table: str, highest: int) -> None:
    """Make the ids that ``table`` assigns from now on higher than ``highest``.

    Inserts wait for some milliseconds: one that assigns an id at the same time could set the sequence back.
    """
    async with connection.transaction():
        await connection.execute(_LOCK_INSERTS.format(table=table))
        await connection.execute(_RAISE_SEQUENCE, table, highest)


# OFFSET 0 in this and the following statements forces index lookups: without statistics, Postgres may read all rows.
_INSERT_ORGANIZATIONS: Final = """
    WITH new AS (
        SELECT *
        FROM json_to_recordset($1) AS new (id bigint, slug text, name text, ingest_url text, created_at timestamptz)
    ),
    created AS (
        INSERT INTO organization (id, slug, name, ingest_url, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT CASE
                   WHEN new.id IS NULL OR EXISTS (SELECT FROM organization WHERE id = new.id OFFSET 0)
                   THEN nextval('organization_id_seq')
                   ELSE new.id
               END,
               slug, coalesce(name, slug), ingest_url, coalesce(created_at, clock_timestamp())
        FROM new
        ON CONFLICT DO NOTHING
        RETURNING id, slug, name
    ),
    new_audit_entry AS (
        INSERT INTO audit_entry (organization_id, action, target, request_id, data, change_id)
        SELECT id, 'organization.create', slug, $2, json_build_object('name', name), gen_random_uuid() FROM created
    )
    SELECT count(*) FROM created
"""


async def insert_organizations(connection: Connection, documents: Sequence[dict[str, Any]], origin: Origin) -> int:
    """Insert organizations, with their ids if these are free; return the number of those that did not exist."""
    rows = orjson.dumps(documents).decode()
    return int(await connection.fetchval(_INSERT_ORGANIZATIONS, rows, origin.request_id))


_INSERT_PROJECTS: Final = """
    WITH new AS (
        SELECT *
        FROM json_to_recordset($1) AS new (
            id bigint, organization_slug text, slug text, name text, created_at timestamptz
        )
    ),
    created AS (
        INSERT INTO project (id, organization_id, slug, name, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT new.id, organization.id, new.slug, coalesce(new.name, new.slug),
               coalesce(new.created_at, clock_timestamp())
        FROM new
        CROSS JOIN LATERAL (SELECT id FROM organization WHERE slug = new.organization_slug OFFSET 0) AS organization
        ON CONFLICT DO NOTHING
        RETURNING id, organization_id, slug, name
    ),
    new_audit_entry AS (
        INSERT INTO audit_entry (organization_id, project_id, action, target, request_id, data, change_id)
        SELECT organization_id, id, 'project.create', slug, $2, json_build_object('name', name), gen_random_uuid()
        FROM created
    )
    SELECT count(*) FROM created
"""


async def insert_projects(connection: Connection, documents: Sequence[dict[str, Any]], origin: Origin) -> int:
    """Insert projects with their ids and their audit entries; return the number of those that did not exist."""
    rows = orjson.dumps(documents).decode()
    return int(await connection.fetchval(_INSERT_PROJECTS, rows, origin.request_id))


_INSERT_KEYS: Final = """
    WITH new AS (
        SELECT *
        FROM json_to_recordset($1) AS new (
            id bigint, organization_id bigint, project_id bigint, label text, public_key text, secret_key text,
            is_active boolean, rate_limit_count integer, rate_limit_window integer, browser_sdk_version text,
            loader_options json, version bigint, created_at timestamptz, expires_at timestamptz, event_id uuid,
            request_id text, audit_data jsonb
        )
    ),
    created AS (
        INSERT INTO project_key (
            id, project_id, label, public_key, secret_key, is_active, rate_limit_count, rate_limit_window,
            browser_sdk_version, loader_options, version, created_at, expires_at
        )
        OVERRIDING SYSTEM VALUE
        SELECT CASE
                   WHEN new.id IS NULL OR EXISTS (SELECT FROM project_key WHERE id = new.id OFFSET 0)
                   THEN nextval('project_key_id_seq')
                   ELSE new.id
               END,
               new.project_id, label, public_key, secret_key, is_active, rate_limit_count,
               rate_limit_window, browser_sdk_version, loader_options, version, new.created_at, expires_at
        FROM new
        CROSS JOIN LATERAL (
            SELECT organization_id FROM project WHERE id = new.project_id AND deleted_at IS NULL OFFSET 0
        ) AS project
        WHERE project.organization_id = new.organization_id
        ON CONFLICT DO NOTHING
        RETURNING public_key, id
    ),
    new_audit_entry AS (
        INSERT INTO audit_entry (organization_id, project_id, action, target, request_id, data, change_id)
        SELECT organization_id, project_id, 'projectkey.create', public_key, request_id,
               audit_data || jsonb_build_object('isActive', is_active), event_id
        FROM created
        JOIN new USING (public_key)
    )
    SELECT public_key, id FROM created
"""


async def insert_imported_keys(connection: Connection, keys: Sequence[PreparedWrite]) -> int:
    """Insert keys with their audit entries and events; return the number of inserted keys.

    The id of a key is that of its row if it is free. Roll back if fewer keys were inserted: a key was created or a
    project was deleted at the same time.
    """
    rows = [write_row(each) | {"id": each.key.id} for each in keys]
    inserted = await connection.fetch(_INSERT_KEYS, orjson.dumps(rows).decode())
    ids = {row["public_key"]: row["id"] for row in inserted}
    if len(ids) == len(keys):
        await insert_events(connection, [with_key_id(each.event, ids[each.key.public_key]) for each in keys])
    return len(ids)
