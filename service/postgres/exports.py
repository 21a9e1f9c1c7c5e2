"""Reads organizations, projects and keys page by page for `export`, of all tenants or of one."""

from collections.abc import AsyncIterator
from typing import Final

from service.domain.model import Organization, Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.full_scan import PAGE
from service.postgres.keys import KEY_COLUMNS, key_from_row
from service.postgres.organizations import ORGANIZATION_COLUMNS, organization_from_row
from service.postgres.projects import PROJECT_COLUMNS, project_from_row

_SELECT_ORGANIZATIONS: Final = f"""
    SELECT {ORGANIZATION_COLUMNS}
    FROM organization
    WHERE id > $1 AND ($2::bigint IS NULL OR id = $2)
    ORDER BY id
    LIMIT {PAGE}
"""


async def organization_pages(
    connection: Connection, organization_id: int | None
) -> AsyncIterator[list[Organization]]:
    """Return the organizations, or the one with this id, page by page in the order of their ids."""
    after = 0
    while rows := await connection.fetch(_SELECT_ORGANIZATIONS, after, organization_id):
        yield [organization_from_row(row) for row in rows]
        after = rows[-1]["organization_id"]


_SELECT_PROJECTS: Final = f"""
    SELECT {PROJECT_COLUMNS}
    FROM project
    JOIN organization ON organization.id = project.organization_id
    WHERE (project.organization_id, project.id) > ($1, $2)
      AND ($3::bigint IS NULL OR project.organization_id = $3) AND project.deleted_at IS NULL
    ORDER BY project.organization_id, project.id
    LIMIT {PAGE}
"""


async def project_pages(connection: Connection, organization_id: int | None) -> AsyncIterator[list[Project]]:
    """Return the projects that are not being deleted, page by page, by organization."""
    after = (organization_id or 0, 0)
    while rows := await connection.fetch(_SELECT_PROJECTS, *after, organization_id):
        yield [project_from_row(row) for row in rows]
        after = rows[-1]["organization_id"], rows[-1]["id_of_project"]


_SELECT_KEYS: Final = f"""
    SELECT {KEY_COLUMNS}, key.id AS key_id
    FROM project_key AS key
    WHERE key.project_id = ANY($1::bigint[]) AND (key.project_id, key.id) > ($2, $3)
    ORDER BY key.project_id, key.id
    LIMIT {PAGE}
"""


async def key_pages(connection: Connection, project_ids: list[int]) -> AsyncIterator[list[tuple[int, ProjectKey]]]:
    """Return the keys of projects with the ids of their rows, page by page, by project."""
    after = (0, 0)
    while rows := await connection.fetch(_SELECT_KEYS, project_ids, *after):
        yield [(row["key_id"], key_from_row(row)) for row in rows]
        after = rows[-1]["project_id"], rows[-1]["key_id"]
