"""Reads the usage of keys."""

from collections.abc import Sequence
from datetime import timedelta

from service.domain.errors import CommandError
from service.domain.model import Project, ProjectKey
from service.domain.usage import OutcomeKind
from service.postgres.database import Database
from service.postgres.usage import select_collected_for, select_unused, select_usage


class Usage:
    """Reads what `service/usage` counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_key(self, project: Project, key: ProjectKey, buckets: range) -> dict[tuple[int, OutcomeKind], int]:
        """As `select_usage`; raises UnavailableError."""
        assert key.id is not None, "the key was read from its row"
        async with self._database.connection() as connection:
            return await select_usage(connection, project, key.id, buckets)

    async def unused(self, project: Project, key_ids: Sequence[int], period: timedelta) -> set[int]:
        """As `select_unused`.

        Raises:
            CommandError: Usage is not counted now, or has not been for the whole period.
            UnavailableError: The database is unavailable.
        """
        async with self._database.connection() as connection:
            collected = await select_collected_for(connection)
            if collected is None:
                raise CommandError("no process counts usage now: see USAGE in `projectkeys config`")
            if collected < period:
                raise CommandError(f"usage has been counted for {collected.days} days only, so this is not known")
            return await select_unused(connection, project, key_ids, period)
