"""Translates errors of Postgres into the errors that commands report."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from service.domain.errors import CommandError, UnavailableError
from service.postgres.schema import SchemaError, SchemaState, problem_with


@contextmanager
def command_errors() -> Iterator[None]:
    """Translate the driver's errors within the block.

    Raises:
        SchemaError: The database does not have the schema.
        CommandError: Postgres rejected a statement.
    """
    try:
        yield
    except (asyncpg.PostgresError, UnavailableError) as error:
        cause = error.__cause__ if isinstance(error, UnavailableError) else error
        if isinstance(cause, asyncpg.UndefinedTableError):
            raise SchemaError(problem_with(SchemaState()) or "") from None
        if cause is error or isinstance(cause, asyncpg.SyntaxOrAccessError | asyncpg.InvalidCatalogNameError):
            raise CommandError(f"Postgres reported an error: {cause.args[0]}") from None
        raise
