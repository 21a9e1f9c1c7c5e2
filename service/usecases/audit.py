"""Reading the audit."""

from service.domain.audit import AuditEntry, AuditSearch
from service.domain.errors import NotFoundError
from service.domain.pagination import Page
from service.postgres.audit import select_entries, select_entries_of_all
from service.postgres.database import Database
from service.postgres.organizations import select_organization
from service.postgres.projects import select_project


class Audit:
    """Finds entries; each write makes its own, in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_organization(self, id_or_slug: str, search: AuditSearch, page: Page) -> list[AuditEntry]:
        """Entries of the organization that a part of a path names, newest first.

        Raises:
            NotFoundError: there is no such organization.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        async with self._database.connection() as connection:
            organization = await select_organization(connection, id_or_slug)
            if organization is None:
                raise NotFoundError(f"there is no organization {id_or_slug}")
            return await select_entries(connection, organization.id, search, page)

    async def project_id(self, organization: str, project: str) -> int:
        """The id of the living project that two parts of a path name.

        Raises:
            NotFoundError: there is none.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        async with self._database.connection() as connection:
            found = await select_project(connection, organization=organization, project=project)
        if found is None:
            raise NotFoundError(f"there is no project {project} in {organization}")
        return found.id

    async def of_all(self, search: AuditSearch, page: Page) -> list[AuditEntry]:
        """Entries of every organization, and of the installation itself, newest first.

        Raises:
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        async with self._database.connection() as connection:
            return await select_entries_of_all(connection, search, page)
