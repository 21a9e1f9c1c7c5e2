"""Reading keys; single ones that are asked for at the same time come in one statement."""

from collections.abc import Sequence
from typing import Final

from service.domain.errors import NotFoundError
from service.domain.model import Project, ProjectKey
from service.postgres.database import Database
from service.postgres.keys import select_keys, select_newest
from service.usecases.gathering import Gathering

_FLIGHTS: Final = 2
"""Reads under way at a time: while one is being answered the next is being gathered."""

_MOST: Final = 64
_WAITING: Final = 2048
"""Reads that may wait: more are told to come again."""

_Wanted = tuple[int, int, str]


class ReadKeys:
    """Reads keys from the primary: an answer is never older than the write that was acknowledged before it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = Gathering[_Wanted, ProjectKey](
            self._select, flights=_FLIGHTS, most=_MOST, waiting=_WAITING
        )

    async def get(self, project: Project, public_key: str) -> ProjectKey:
        """One key of ``project``.

        Raises:
            NotFoundError: the project has no such key.
            BusyError: too many reads are waiting.
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        return await self._reads.submit((project.organization.id, project.id, public_key))

    async def newest(self, project: Project, *, limit: int) -> list[tuple[int, ProjectKey]]:
        """At most ``limit`` keys of ``project`` with their row ids, newest first.

        Raises:
            UnavailableError: the database cannot be reached or did not answer in time.
        """
        async with self._database.connection() as connection:
            return await select_newest(
                connection, organization_id=project.organization.id, project_id=project.id, limit=limit
            )

    async def _select(self, wanted: Sequence[_Wanted]) -> Sequence[ProjectKey | Exception]:
        async with self._database.connection() as connection:
            found = await select_keys(connection, wanted)
        return [
            found.get((project_id, public_key)) or NotFoundError(f"key {public_key}")
            for _, project_id, public_key in wanted
        ]
