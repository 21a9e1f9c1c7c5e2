"""Reading keys; what is asked for at the same time, keys or pages, comes in one statement, and each of it once."""

import asyncio
from collections.abc import Sequence
from typing import Final

from service.concurrency.batcher import Batcher
from service.domain.errors import NotFoundError
from service.domain.model import Organization, Project, ProjectKey
from service.domain.pagination import KeyRows, Page
from service.postgres.database import Database
from service.postgres.key_pages import KeyPage, select_page_of_organization, select_pages
from service.postgres.keys import select_keys

_FLIGHTS: Final = 1
"""Statements under way at a time: with two, each carries half as much, which costs a page of a list two fifths."""

_MOST: Final = 64
_WAITING: Final = 2048
"""Reads that may wait: more are told to come again."""

_Wanted = tuple[int, int, str]


class ReadKeys:
    """Reads keys from the primary: an answer is never older than the write that was acknowledged before it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = Batcher[_Wanted, ProjectKey](
            self._select, flights=_FLIGHTS, most=_MOST, waiting=_WAITING
        )
        self._pages = Batcher[KeyPage, KeyRows](
            self._select_pages, flights=_FLIGHTS, most=_MOST, waiting=_WAITING
        )

    def get(self, project: Project, public_key: str) -> asyncio.Future[ProjectKey]:
        """One key of ``project``, to come.

        Raises:
            NotFoundError: the project has no such key.
            BusyError: too many reads are waiting.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        organization_id = project.organization.id
        return self._reads.submit((organization_id, project.id, public_key), tenant=organization_id)

    def page(self, project: Project, page: Page, *, active: bool | None = None) -> asyncio.Future[KeyRows]:
        """Keys of ``project`` to come, and one more than the page has if there is one; not to be changed.

        Args:
            project: whose keys.
            page: which of them.
            active: only those that are, or are not; None is all of them.

        Raises:
            NotFoundError: the project is deleted.
            BusyError: too many reads are waiting.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        organization_id = project.organization.id
        return self._pages.submit(KeyPage(organization_id, project.id, page, active), tenant=organization_id)

    async def page_of_organization(
        self, organization: Organization, page: Page, *, active: bool | None = None
    ) -> list[tuple[int, ProjectKey, Project]]:
        """Keys of all projects of ``organization``, otherwise as `page`.

        Raises:
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        async with self._database.connection() as connection:
            return await select_page_of_organization(
                connection, organization_id=organization.id, page=page, active=active
            )

    async def _select_pages(self, wanted: Sequence[KeyPage]) -> Sequence[KeyRows | Exception]:
        once = list(dict.fromkeys(wanted))
        async with self._database.connection() as connection:
            found = dict(zip(once, await select_pages(connection, once), strict=True))
        return [found[one] or NotFoundError(f"project {one.project_id}") for one in wanted]

    async def _select(self, wanted: Sequence[_Wanted]) -> Sequence[ProjectKey | Exception]:
        async with self._database.connection() as connection:
            found = await select_keys(connection, set(wanted))
        return [
            found.get((project_id, public_key)) or NotFoundError(f"key {public_key}")
            for _, project_id, public_key in wanted
        ]
