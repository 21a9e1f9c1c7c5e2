"""Reads the usage of keys."""

from service.domain.model import Project, ProjectKey
from service.domain.usage import OutcomeKind
from service.postgres.database import Database
from service.postgres.usage import select_usage


class Usage:
    """Reads what `service/usage` counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_key(self, project: Project, key: ProjectKey, buckets: range) -> dict[tuple[int, OutcomeKind], int]:
        """As `select_usage`; raises UnavailableError."""
        assert key.id is not None, "the key was read from its row"
        async with self._database.connection() as connection:
            return await select_usage(connection, project, key.id, buckets)
