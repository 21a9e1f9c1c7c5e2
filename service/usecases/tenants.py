"""Finds organizations and projects by id or slug, and lists them for commands."""

from collections.abc import AsyncIterator

from service.domain.errors import NotFoundError
from service.domain.model import Organization, Project
from service.postgres.database import Connection, Database
from service.postgres.exports import organization_pages, project_pages
from service.postgres.organizations import select_organization
from service.postgres.projects import select_project


async def find_organization(connection: Connection, id_or_slug: str) -> Organization:
    """Return the organization with this id or slug.

    Raises:
        NotFoundError: There is no such organization.
    """
    found = await select_organization(connection, id_or_slug)
    if found is None:
        raise NotFoundError(f"there is no organization {id_or_slug}")
    return found


async def find_project(connection: Connection, organization: str, project: str) -> Project:
    """Return the project with these ids or slugs.

    Raises:
        NotFoundError: There is no such project, or it is deleted.
    """
    found = await select_project(connection, organization=organization, project=project)
    if found is None:
        raise NotFoundError(f"there is no project {project} in {organization}")
    return found


async def list_organizations(database: Database) -> AsyncIterator[Organization]:
    """Yield all organizations in the order of their ids."""
    async with database.connection() as connection:
        async for organizations in organization_pages(connection, None):
            for organization in organizations:
                yield organization


async def list_projects(database: Database, organization: str | None) -> AsyncIterator[Project]:
    """Yield the projects of an organization, or of all if it is None, in the order of their ids.

    Raises:
        NotFoundError: There is no such organization.
    """
    async with database.connection() as connection:
        found = None if organization is None else await find_organization(connection, organization)
        async for projects in project_pages(connection, found.id if found else None):
            for project in projects:
                yield project
