"""What the subcommands share: how one is declared, and how it uses the database."""

import argparse
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from service import settings
from service.app import open_database
from service.domain.model import Origin
from service.postgres.database import Database
from service.postgres.schema import SchemaError, SchemaState, problem_with

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 -- has no public name
"""Where subcommands are declared."""

Run = Callable[[argparse.Namespace], int]

_LONGEST_NAME: Final = 64


def add_command(
    commands: Commands, name: str, *, summary: str, example: str, run: Run | None = None
) -> argparse.ArgumentParser:
    """Declare a subcommand.

    Args:
        commands: where it belongs.
        name: its name.
        summary: what it does, in a line.
        example: one that works when pasted, or several lines of them.
        run: does it, and returns the exit code; None for a group of further subcommands.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """The database that the settings name, for the time of the block.

    Raises:
        SettingsError: the settings cannot be used.
        SchemaError: the database has no schema.
        UnavailableError: it cannot be reached.
        ValueError: it refused a statement.
    """
    opened = open_database(settings.read())
    async with started(opened):
        yield opened


@asynccontextmanager
async def started(database: Database) -> AsyncIterator[None]:
    """Start ``database`` and close it in the end; raises as `database` does."""
    await database.start()
    try:
        await _connect(database)
        yield
    except asyncpg.UndefinedTableError:
        raise SchemaError(problem_with(SchemaState()) or "") from None
    except asyncpg.PostgresError as error:
        raise ValueError(f"the database refused: {error.args[0]}") from None
    finally:
        await database.close()


async def _connect(database: Database) -> None:
    """Connect once, so that a URL that cannot be read is told from every other mistake."""
    try:
        async with database.connection():
            return
    except ValueError:  # its words can hold a part of the password
        raise settings.SettingsError(
            "DATABASE_URL: Not of the form postgresql://user:password@host:5432/database; "
            "special characters in the password are written as %2F and the like."
        ) from None


def name_for_people(text: str) -> str:
    """The argument ``text`` as a name.

    Raises:
        ArgumentTypeError: it cannot be one.
    """
    name = text.strip()
    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
        raise argparse.ArgumentTypeError(f"1 to {_LONGEST_NAME} printable characters, please")
    return name


def command_line_origin() -> Origin:
    """Where a write comes from that somebody typed."""
    return Origin(token_id=None, request_id=f"cli-{secrets.token_hex(8)}")


def say(*lines: str) -> None:
    """Print a command's result."""
    for line in lines:
        print(line, flush=True)  # noqa: T201 -- a command's output
