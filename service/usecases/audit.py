"""Reads the audit log."""

from service.domain.audit import AuditEntry, AuditSearch
from service.domain.pagination import Page
from service.postgres.audit import select_entries, select_entries_of_all
from service.postgres.database import Database
from service.usecases.tenants import find_organization, find_project


class Audit:
    """Finds audit entries. Each change inserts its entry in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_organization(self, id_or_slug: str, search: AuditSearch, page: Page) -> list[AuditEntry]:
        """Return entries of an organization, newest first, and one more than the page has if there is one.

        Raises:
            NotFoundError: There is no such organization.
            UnavailableError: The database is unavailable.
        """
        async with self._database.connection() as connection:
            organization = await find_organization(connection, id_or_slug)
            return await select_entries(connection, organization.id, search, page)

    async def project_id(self, organization: str, project: str) -> int:
        """Return the id of a project that is not deleted.

        Raises:
            NotFoundError: There is no such project.
            UnavailableError: The database is unavailable.
        """
        async with self._database.connection() as connection:
            return (await find_project(connection, organization, project)).id

    async def of_all(self, search: AuditSearch, page: Page) -> list[AuditEntry]:
        """Return entries of all organizations and of the installation, newest first; otherwise as `of_organization`.

        Raises:
            UnavailableError: The database is unavailable.
        """
        async with self._database.connection() as connection:
            return await select_entries_of_all(connection, search, page)
