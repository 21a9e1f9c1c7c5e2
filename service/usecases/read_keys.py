"""Reads keys; reads that arrive while a statement is running share the next statement."""

import asyncio
from collections.abc import Sequence
from typing import Final

from service.concurrency.batcher import Batcher
from service.concurrency.derived_cache import DerivedCache
from service.domain.errors import NotFoundError
from service.domain.model import KEY_HALF, Organization, Project, ProjectKey
from service.domain.pagination import KeyRows, Page
from service.postgres.database import Database
from service.postgres.key_pages import (
    KeyPage,
    KeySearch,
    PageRow,
    search_keys,
    select_page_of_organization,
    select_pages,
)
from service.postgres.keys import PUBLIC_KEY, KeyColumns, key_from_columns, select_keys

_LIMITS: Final = {"max_running_batches": 1, "max_batch_size": 64, "max_queue_size": 2048}
"""Two statements at the same time would read half as much each; a page would cost 40 % more."""

_MAX_CACHED_KEYS: Final = 4096
"""Number of cached keys; about 600 bytes each."""

_MAX_CACHED_PAGES: Final = 128
"""Number of cached pages; about 7 000 bytes each, at most 60 000."""


_KeyId = tuple[int, int, str]
"""Organization id, project id and public key."""


KeyMatches = tuple[KeyRows, int | None]
"""The keys of a page, and the row id at which the search stopped if there may be more."""


class ReadKeys:
    """Reads keys from the primary: a read that starts after the response to a write returns what was written.

    Every read selects its rows from Postgres; the caches only save decoding rows that have not changed. Equal rows
    yield the same object, so that JSON texts can be cached by object.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key_cache = DerivedCache[str, KeyColumns, ProjectKey](key_from_columns, max_size=_MAX_CACHED_KEYS)
        self._page_cache = DerivedCache[KeyPage, Sequence[PageRow], KeyRows](
            self._key_rows, max_size=_MAX_CACHED_PAGES
        )
        self._keys = Batcher[_KeyId, ProjectKey](self._select_keys, **_LIMITS)
        self._pages = Batcher[KeyPage, KeyRows](self._select_pages, **_LIMITS)
        self._searches = Batcher[KeySearch, KeyMatches](self._search, **{**_LIMITS, "max_batch_size": 1})

    def get(self, project: Project, public_key: str) -> asyncio.Future[ProjectKey]:
        """Return the future of a key of ``project``.

        Raises:
            NotFoundError: The project has no such key.
            BusyError: Too many reads are waiting.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        organization_id = project.organization.id
        return self._keys.submit((organization_id, project.id, public_key), tenant=organization_id)

    def page(self, project: Project, page: Page, *, active: bool | None = None) -> asyncio.Future[KeyRows]:
        """Return the future of the keys of ``page`` and of the next key, if there is any; do not modify them.

        Args:
            project: The project of the keys.
            page: The position and the size of the page.
            active: True selects active keys, False inactive keys, None both.

        Raises:
            NotFoundError: The project is deleted.
            BusyError: Too many reads are waiting.
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        organization_id = project.organization.id
        return self._pages.submit(KeyPage(organization_id, project.id, page, active), tenant=organization_id)

    async def search(self, project: Project, page: Page, text: str, *, active: bool | None = None) -> KeyMatches:
        """Return the keys of ``page`` with the public key ``text``, or whose names contain it; otherwise as `page`.

        One search runs at a time.
        """
        organization_id, text = project.organization.id, text.lower()
        if not KEY_HALF.fullmatch(text):
            search = KeySearch(KeyPage(organization_id, project.id, page, active), text)
            return await self._searches.submit(search, tenant=organization_id)
        try:
            found = [await self.get(project, text)]
        except NotFoundError:
            found = []
        keys = [key for key in found if active in {None, key.is_active} and page.start is None]
        return KeyRows([key.id or 0 for key in keys], keys), None

    async def page_of_organization(
        self, organization: Organization, page: Page, *, active: bool | None = None
    ) -> list[tuple[int, ProjectKey, Project]]:
        """Return row ids, keys and projects of a page of all keys of ``organization``; otherwise as `page`.

        Raises:
            UnavailableError: The database cannot be reached or did not respond in time.
        """
        async with self._database.connection() as connection:
            rows = await select_page_of_organization(
                connection, organization_id=organization.id, page=page, active=active
            )
        return [(row_id, self._key_of(columns), project) for row_id, columns, project in rows]

    def _key_of(self, columns: KeyColumns) -> ProjectKey:
        return self._key_cache.get(columns[PUBLIC_KEY], columns)

    def _key_rows(self, rows: Sequence[PageRow]) -> KeyRows:
        return KeyRows([row_id for row_id, _ in rows], [self._key_of(columns) for _, columns in rows])

    async def _select_keys(self, key_ids: Sequence[_KeyId]) -> Sequence[ProjectKey | Exception]:
        async with self._database.connection() as connection:
            found = await select_keys(connection, set(key_ids))
        results: list[ProjectKey | Exception] = []
        for _, project_id, public_key in key_ids:
            columns = found.get((project_id, public_key))
            results.append(self._key_of(columns) if columns else NotFoundError(f"key {public_key}"))
        return results

    async def _search(self, searches: Sequence[KeySearch]) -> Sequence[KeyMatches | Exception]:
        async with self._database.connection() as connection:
            found = [await search_keys(connection, search) for search in searches]
        return [
            (KeyRows([row_id for row_id, _ in rows], [key_from_columns(row) for _, row in rows]), last_read)
            for rows, last_read in found
        ]

    async def _select_pages(self, pages: Sequence[KeyPage]) -> Sequence[KeyRows | Exception]:
        distinct = list(dict.fromkeys(pages))
        async with self._database.connection() as connection:
            found = await select_pages(connection, distinct)
        results: dict[KeyPage, KeyRows | Exception] = {}
        for page, rows in zip(distinct, found, strict=True):
            results[page] = (
                NotFoundError(f"project {page.project_id}") if rows is None else self._page_cache.get(page, rows)
            )
        return [results[page] for page in pages]
