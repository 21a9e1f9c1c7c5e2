"""The tables project and project_slug_redirect."""

from collections.abc import Collection
from typing import Final

import asyncpg

from service.domain.errors import TakenError
from service.domain.model import NewProject, Organization, Project
from service.domain.project_search import ProjectSearch
from service.postgres.database import Connection
from service.postgres.organizations import ORGANIZATION_COLUMNS, id_and_slug, organization_from_row

PROJECT_COLUMNS: Final = f"""
    project.id AS id_of_project, project.slug AS project_slug, project.name AS project_name,
    project.default_browser_sdk_version, project.created_at AS project_created_at, project.platform,
    {ORGANIZATION_COLUMNS}
"""
"""The columns of the tables project and organization that `project_from_row` reads."""

COLUMNS_OF_PROJECT: Final = "id, organization_id, slug, name, default_browser_sdk_version, created_at, platform"
"""The columns of a subquery named project in a statement that selects `PROJECT_COLUMNS`."""

# OFFSET 0 forces a lookup by the id, and ORDER BY one by the slug: without statistics, Postgres may read all projects
# of the organization instead.
_SELECT_PROJECT: Final = f"""
    SELECT {PROJECT_COLUMNS}
    FROM organization
    CROSS JOIN LATERAL (
        SELECT {COLUMNS_OF_PROJECT}
        FROM project
        WHERE project.id = coalesce($3, (
            SELECT nearest.id
            FROM (
                SELECT named.id, named.slug
                FROM project AS named
                WHERE named.organization_id = organization.id AND named.slug >= $4 AND named.deleted_at IS NULL
                ORDER BY named.slug
                LIMIT 1
            ) AS nearest
            WHERE nearest.slug = $4
        )) AND project.deleted_at IS NULL
        OFFSET 0
    ) AS project
    WHERE organization.id = coalesce($1, (SELECT id FROM organization WHERE slug = $2))
      AND project.organization_id = organization.id
"""


async def select_project(connection: Connection, *, organization: str, project: str) -> Project | None:
    """Return the project with these ids or slugs; None if there is none or it is deleted."""
    parts = (*id_and_slug(organization), *id_and_slug(project))
    row = await connection.fetchrow(_SELECT_PROJECT, *parts)
    return None if row is None else project_from_row(row)


_IS_SEARCHED: Final = """
    ($2::bigint[] IS NULL OR project.id = ANY ($2)) AND ($3::text[] IS NULL OR project.slug = ANY ($3))
    AND ($4::text[] IS NULL OR project.name = ANY ($4))
    AND ($5::text IS NULL OR position(lower($5) IN lower(project.name)) > 0
                          OR position(lower($5) IN project.slug) > 0)
"""

_MATCHES: Final = f"{_IS_SEARCHED} AND project.organization_id = $1 AND project.slug > $6"

# A range of the index, in its order: otherwise Postgres prefers to scan past the projects of other organizations.
_SELECT_BY_SLUG: Final = f"""
    SELECT {PROJECT_COLUMNS}
    FROM (
        SELECT {COLUMNS_OF_PROJECT}
        FROM project
        WHERE (project.organization_id, project.slug) > ($1, $6) AND project.organization_id <= $1 AND {_MATCHES}
          AND project.deleted_at IS NULL
        ORDER BY project.organization_id, project.slug
        OFFSET $7 LIMIT $8
    ) AS project
    JOIN organization ON organization.id = project.organization_id
    ORDER BY project.slug
"""

_SELECT_CHOSEN: Final = f"""
    SELECT {PROJECT_COLUMNS}
    FROM (
        SELECT unnest($2::bigint[]) AS id
        UNION
        SELECT nearest.id
        FROM unnest($3::text[]) AS wanted (slug)
        CROSS JOIN LATERAL (
            SELECT named.id, named.slug
            FROM project AS named
            WHERE named.organization_id = $1 AND named.slug >= wanted.slug AND named.deleted_at IS NULL
            ORDER BY named.slug
            LIMIT 1
        ) AS nearest
        WHERE nearest.slug = wanted.slug
    ) AS chosen
    CROSS JOIN LATERAL (
        SELECT {COLUMNS_OF_PROJECT} FROM project WHERE project.id = chosen.id AND project.deleted_at IS NULL OFFSET 0
    ) AS project
    JOIN organization ON organization.id = project.organization_id
    WHERE {_MATCHES}
    ORDER BY project.slug
    OFFSET $7 LIMIT $8
"""


async def select_projects(
    connection: Connection,
    *,
    organization_id: int,
    search: ProjectSearch,
    limit: int,
    skip: int = 0,
    after: str = "",
) -> list[Project]:
    """Return existing projects of an organization in the order of their slugs.

    Args:
        connection: A connection.
        organization_id: The organization.
        search: The conditions; `select_projects_of_keys` must have replaced public keys by ids.
        limit: The maximum number of projects.
        skip: The number of projects that are left out.
        after: Only projects with higher slugs.
    """
    is_chosen = search.ids is not None or search.slugs is not None
    conditions = (search.ids, search.slugs, search.names, search.text)
    statement = _SELECT_CHOSEN if is_chosen else _SELECT_BY_SLUG
    rows = await connection.fetch(statement, organization_id, *conditions, after, skip, limit)
    return [project_from_row(row) for row in rows]


_SELECT_OF_ALL: Final = f"""
    SELECT {PROJECT_COLUMNS}
    FROM (
        SELECT {COLUMNS_OF_PROJECT}
        FROM project
        WHERE {_IS_SEARCHED} AND project.deleted_at IS NULL AND ($1::text[] IS NULL OR project.id = ANY (ARRAY(
            SELECT project_id FROM project_key WHERE public_key = ANY ($1)
        )))
        ORDER BY project.id DESC
        OFFSET $6 LIMIT $7
    ) AS project
    JOIN organization ON organization.id = project.organization_id
    ORDER BY project.id DESC
"""


async def select_projects_of_all(
    connection: Connection, search: ProjectSearch, *, skip: int, limit: int
) -> list[Project]:
    """Return existing projects of all organizations, newest first."""
    conditions = (search.public_keys, search.ids, search.slugs, search.names, search.text)
    rows = await connection.fetch(_SELECT_OF_ALL, *conditions, skip, limit)
    return [project_from_row(row) for row in rows]


_SELECT_OF_KEYS: Final = """
    SELECT key.project_id
    FROM unnest($2::text[]) AS wanted (public_key)
    CROSS JOIN LATERAL (SELECT project_id FROM project_key WHERE public_key = wanted.public_key OFFSET 0) AS key
    CROSS JOIN LATERAL (
        SELECT id FROM project WHERE id = key.project_id AND organization_id = $1 OFFSET 0
    ) AS project
"""


async def select_projects_of_keys(
    connection: Connection, *, organization_id: int, public_keys: Collection[str]
) -> set[int]:
    """Return the ids of the projects of an organization to which these public keys belong."""
    rows = await connection.fetch(_SELECT_OF_KEYS, organization_id, public_keys)
    return {row["project_id"] for row in rows}


_LOCK_PROJECT: Final = f"""
    SELECT {PROJECT_COLUMNS}
    FROM project
    JOIN organization ON organization.id = project.organization_id
    WHERE organization.id = $1 AND project.id = $2 AND project.deleted_at IS NULL
    FOR UPDATE OF project
"""


async def lock_project(connection: Connection, project: Project) -> Project | None:
    """Lock a project until the transaction ends; return its current state, or None if it is deleted.

    No key can be inserted into a locked project.
    """
    row = await connection.fetchrow(_LOCK_PROJECT, project.organization.id, project.id)
    return None if row is None else project_from_row(row)


_SELECT_REDIRECT: Final = """
    SELECT project.slug
    FROM project_slug_redirect AS redirect
    CROSS JOIN LATERAL (
        SELECT slug FROM project WHERE id = redirect.project_id AND deleted_at IS NULL OFFSET 0
    ) AS project
    WHERE redirect.organization_id = coalesce($1, (SELECT id FROM organization WHERE slug = $2))
      AND redirect.slug = $3
"""


async def select_redirect(connection: Connection, *, organization: str, slug: str) -> str | None:
    """Return the current slug of the project with the former slug ``slug``; None if there is none."""
    found: str | None = await connection.fetchval(_SELECT_REDIRECT, *id_and_slug(organization), slug)
    return found


_INSERT_PROJECT: Final = """
    INSERT INTO project (organization_id, slug, name, platform) VALUES ($1, $2, $3, $4)
    ON CONFLICT (organization_id, slug) WHERE deleted_at IS NULL DO NOTHING
    RETURNING id, slug, name, default_browser_sdk_version, created_at, platform
"""


async def insert_project(connection: Connection, organization: Organization, new: NewProject) -> Project:
    """Insert a project.

    Raises:
        TakenError: The slug is in use in this organization.
    """
    row = await connection.fetchrow(_INSERT_PROJECT, organization.id, new.slug, new.name, new.platform)
    if row is None:
        raise TakenError("slug")
    return Project(**dict(row.items()), organization=organization)


_UPDATE_PROJECT: Final = """
    UPDATE project SET slug = $3, name = $4, platform = $5 WHERE organization_id = $1 AND id = $2
"""

_INSERT_REDIRECT: Final = """
    INSERT INTO project_slug_redirect (organization_id, slug, project_id) VALUES ($1, $2, $3)
    ON CONFLICT (organization_id, slug) DO UPDATE SET project_id = excluded.project_id
"""

_DELETE_REDIRECT: Final = "DELETE FROM project_slug_redirect WHERE organization_id = $1 AND slug = $2"


async def update_project(connection: Connection, project: Project, changed: Project) -> None:
    """Write the slug, the name and the platform of a locked project; its former slug redirects to it.

    Raises:
        TakenError: The slug is in use in this organization.
    """
    organization_id, slug = project.organization.id, changed.slug
    try:
        await connection.execute(_UPDATE_PROJECT, organization_id, project.id, slug, changed.name, changed.platform)
    except asyncpg.UniqueViolationError:
        raise TakenError("slug") from None
    if slug != project.slug:
        await connection.execute(_DELETE_REDIRECT, organization_id, slug)
        await connection.execute(_INSERT_REDIRECT, organization_id, project.slug, project.id)


_HIDE_PROJECT: Final = """
    UPDATE project SET deleted_at = clock_timestamp() WHERE organization_id = $1 AND id = $2
"""


async def hide_project(connection: Connection, project: Project) -> None:
    """Mark a project as deleted whose keys are still to be deleted."""
    await connection.execute(_HIDE_PROJECT, project.organization.id, project.id)


class ProjectNotEmptyError(Exception):
    """A project cannot be deleted because it has keys."""


_DELETE_PROJECT: Final = "DELETE FROM project WHERE organization_id = $1 AND id = $2"


async def delete_project(connection: Connection, *, organization_id: int, project_id: int) -> None:
    """Delete a project that has no keys.

    Raises:
        ProjectNotEmptyError: The project has keys.
    """
    try:
        await connection.execute(_DELETE_PROJECT, organization_id, project_id)
    except asyncpg.ForeignKeyViolationError:
        raise ProjectNotEmptyError from None


def project_from_row(row: asyncpg.Record) -> Project:
    """Return the project of a row that has `PROJECT_COLUMNS`."""
    return Project(
        id=row["id_of_project"],
        slug=row["project_slug"],
        name=row["project_name"],
        default_browser_sdk_version=row["default_browser_sdk_version"],
        created_at=row["project_created_at"],
        organization=organization_from_row(row),
        platform=row["platform"],
    )
