"""Creates and updates the schema of the database."""

from collections.abc import Callable

from service.postgres.database import Database
from service.postgres.migrate import FRESH, migrate
from service.postgres.schema import CURRENT, SchemaError, problem_with, select_schema_state


class Migrations:
    """The schema of a database; ``version`` is the version that this program works with."""

    version = CURRENT

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(
        self, *, wait: float = 0, grant_to: str | None = None, report: Callable[[str], None] = lambda _: None
    ) -> list[str] | None:
        """Apply the migrations that the database lacks and return their names; or create the schema and return None.

        Args:
            wait: Seconds to wait for a migration by another process.
            grant_to: A role that receives the rights that the service needs.
            report: Receives a line for each step and for each wait.

        Raises:
            SchemaError: The schema cannot be updated; the message says what to do.
        """
        if not self._database.has_session:
            raise SchemaError(
                "migrate holds a lock of its session, which PgBouncer does not keep: connect to Postgres directly, "
                "with DATABASE_PGBOUNCER=false"
            )
        async with self._database.connection() as connection:
            names = await migrate(connection, wait=wait, grant_to=grant_to, report=report)
        return None if names == [FRESH] else names

    async def check(self) -> None:
        """Do nothing if this program can work with the schema.

        Raises:
            SchemaError: It cannot; the message says why and what to do.
        """
        async with self._database.connection() as connection:
            problem = problem_with(await select_schema_state(connection))
        if problem:
            raise SchemaError(problem)
