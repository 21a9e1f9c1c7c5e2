"""Reads the audit log."""

from service.domain.audit import AuditEntry, AuditSearch
from service.domain.pagination import Page
from service.postgres.audit import select_entries, select_entries_of_all
from service.postgres.database import Database
from service.usecases.tenants import find_organization, find_project


class Audit:
    """Reads audit entries; changes insert them in their own transactions.

    Every method raises `UnavailableError` if the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_organization(self, id_or_slug: str, search: AuditSearch, page: Page) -> list[AuditEntry]:
        """Return the entries of a page of an organization and the next entry, if there is any; newest first.

        Raises:
            NotFoundError: There is no such organization.
        """
        async with self._database.connection() as connection:
            organization = await find_organization(connection, id_or_slug)
            return await select_entries(connection, organization.id, search, page)

    async def project_id(self, organization: str, project: str) -> int:
        """Return the id of a project; both arguments are ids or slugs.

        Raises:
            NotFoundError: There is no such project.
        """
        async with self._database.connection() as connection:
            return (await find_project(connection, organization, project)).id

    async def of_all(self, search: AuditSearch, page: Page) -> list[AuditEntry]:
        """Return entries of all organizations and of the installation; otherwise as `of_organization`."""
        async with self._database.connection() as connection:
            return await select_entries_of_all(connection, search, page)
