"""What the subcommands share: their declaration, types of arguments, the database, and output."""

import argparse
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from service.app import open_database
from service.domain.model import Origin
from service.environment import SettingsError, read
from service.json_text import dump_json
from service.postgres.command_errors import command_errors
from service.postgres.database import Database
from service.settings import DATABASE_URL_FORM, DatabaseSettings

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 -- has no public name
"""Where subcommands are declared."""

Run = Callable[[argparse.Namespace], int]

_MAX_NAME_LENGTH: Final = 64


def add_command(
    commands: Commands, name: str, *, summary: str, example: str, run: Run | None = None
) -> argparse.ArgumentParser:
    """Declare a subcommand.

    Args:
        commands: The commands to add it to.
        name: Its name.
        summary: What it does, in one line.
        example: Lines that work when pasted into a shell.
        run: Runs it and returns the exit code; None for a group of commands.
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


def add_group(commands: Commands, name: str, *, summary: str, example: str) -> Commands:
    """Declare a group of commands; return where its commands are declared."""
    parser = add_command(commands, name, summary=summary, example=example)
    return parser.add_subparsers(metavar="COMMAND", required=True)


def add_json_option(parser: argparse.ArgumentParser, output: str = "one JSON object per line") -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help=f"print {output}")


def whole_number(highest: int) -> Callable[[str], int]:
    """Return the type of arguments that are whole numbers from 1 to ``highest``."""

    def parse(text: str) -> int:
        if not (text.isdecimal() and 0 < int(text) <= highest):
            raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {highest}")
        return int(text)

    return parse


def project_path(text: str) -> tuple[str, str]:
    """Parse an argument of the form ``organization/project``.

    Raises:
        ArgumentTypeError: It has another form.
    """
    organization, slash, project = text.partition("/")
    if not (organization and slash and project):
        raise argparse.ArgumentTypeError("must be an organization and a project, such as acme/web")
    return organization, project


def display_name(text: str) -> str:
    """Parse an argument that is a display name.

    Raises:
        ArgumentTypeError: It is empty, too long or not printable.
    """
    name = text.strip()
    if not (0 < len(name) <= _MAX_NAME_LENGTH and name.isprintable()):
        raise argparse.ArgumentTypeError(f"must be 1 to {_MAX_NAME_LENGTH} printable characters")
    return name


@asynccontextmanager
async def connect_database(settings: DatabaseSettings | None = None) -> AsyncIterator[Database]:
    """Open the database of ``settings``, or of the environment, for the duration of the block.

    Raises:
        SettingsError: The settings are invalid.
        SchemaError: The database does not have the schema.
        UnavailableError: The database is unavailable.
        ValueError: Postgres rejected a statement.
    """
    database = open_database(settings or read(DatabaseSettings))
    await database.start()
    try:
        with command_errors():
            await _connect(database)
            yield database
    finally:
        await database.close()


async def _connect(database: Database) -> None:
    """Connect once, since the driver reports an invalid URL when it connects."""
    try:
        async with database.connection():
            return
    except ValueError:  # its message can contain a part of the password
        raise SettingsError(f"DATABASE_URL: {DATABASE_URL_FORM}") from None


def command_line_origin() -> Origin:
    """Return the origin of changes by a command, for the audit log."""
    return Origin(token_id=None, request_id=f"cli-{secrets.token_hex(8)}")


def print_lines(*lines: str) -> None:
    """Print lines of a command's output."""
    for line in lines:
        print(line, flush=True)  # noqa: T201 -- a command's output


def print_json(value: Mapping[str, Any]) -> None:
    """Print a line of a command's JSON output."""
    print_lines(dump_json(value).decode())


def print_error(text: str) -> None:
    """Print a message to standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a command's output


def printable(text: str) -> str:
    """Escape the characters of ``text`` that could end the line or control the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
