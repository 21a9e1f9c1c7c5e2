"""Translates errors of Postgres into the errors that commands report."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from service.postgres.schema import SchemaError, SchemaState, problem_with


@contextmanager
def command_errors() -> Iterator[None]:
    """Translate the driver's errors within the block.

    Raises:
        SchemaError: The database does not have the schema.
        ValueError: Postgres rejected a statement.
    """
    try:
        yield
    except asyncpg.UndefinedTableError:
        raise SchemaError(problem_with(SchemaState()) or "") from None
    except asyncpg.PostgresError as error:
        raise ValueError(f"Postgres reported an error: {error.args[0]}") from None
