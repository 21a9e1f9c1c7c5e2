"""Finds organizations and projects by id or slug."""

from service.domain.errors import NotFoundError
from service.domain.model import Organization, Project
from service.postgres.database import Connection
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
