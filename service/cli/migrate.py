"""`migrate`: creates or updates the database's schema."""

import argparse
import asyncio
import time
from typing import Final

from service.cli.commands import Commands, add_command, connect_database, print_lines
from service.domain.errors import UnavailableError
from service.postgres.database import Database
from service.postgres.migrate import FRESH, migrate
from service.postgres.schema import CURRENT, SchemaError, problem_with, select_schema_state

_CONNECT_POLL: Final = 0.5
"""Seconds between two attempts to connect."""
_MAX_WAIT: Final = 86_400.0

_EPILOG: Final = """

exit codes:
  0   the schema is current, or newer and compatible with this program
  1   the schema is not current, or the command failed; stderr has the reason and what to do
  2   the arguments are invalid
  78  the settings are invalid"""


def add_to(commands: Commands) -> None:
    """Declare the subcommand."""
    parser = add_command(
        commands,
        "migrate",
        summary="create or update the database's schema",
        example="DATABASE_URL=postgresql://owner… projectkeys migrate\n"
        "  DATABASE_URL=postgresql://owner… projectkeys migrate --wait 300 --grant-to projectkeys_service",
        run=lambda options: asyncio.run(_run(options)),
    )
    parser.epilog = f"{parser.epilog}{_EPILOG}"
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="maximum time to wait until the database accepts connections and until a migration by another process "
        "has ended (default: 0); the migration itself has no time limit",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--check",
        action="store_true",
        help="change nothing; the exit code is 1 if the schema is not current",
    )
    mode.add_argument(
        "--grant-to",
        metavar="ROLE",
        help="also grant this role, which the service connects as, the rights that the service needs",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MAX_WAIT:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 to {_MAX_WAIT:g}")
    return seconds


async def _run(options: argparse.Namespace) -> int:
    deadline = time.monotonic() + options.wait
    await _wait_for_database(deadline)
    async with connect_database() as database:
        if options.check:
            await _check(database)
        else:
            await _migrate(database, max(deadline - time.monotonic(), 0.0), options.grant_to)
    return 0


async def _wait_for_database(deadline: float) -> None:
    """Wait until the database accepts a connection, or until the deadline; the caller connects in either case."""
    reported = ""
    while time.monotonic() < deadline:
        try:
            async with connect_database():
                return
        except UnavailableError as error:
            if str(error) != reported:
                reported = str(error)
                print_lines(f"Waiting for the database: {reported}")
        await asyncio.sleep(min(_CONNECT_POLL, max(deadline - time.monotonic(), 0.0)))


async def _migrate(database: Database, wait: float, role: str | None) -> None:
    if not database.has_session:
        raise SchemaError(
            "migrate holds a lock of its session, which PgBouncer does not keep: connect to Postgres directly, with "
            "DATABASE_PGBOUNCER=false"
        )
    async with database.connection() as connection:
        applied = await migrate(connection, wait=wait, grant_to=role, report=print_lines)
    match applied:
        case []:
            print_lines(f"The schema is already current (version {CURRENT}).")
        case [name] if name == FRESH:
            print_lines(f"Created the schema (version {CURRENT}).")
        case names:
            print_lines(f"Applied {', '.join(names)}; the schema is current (version {CURRENT}).")
    if role is not None:
        print_lines(f"The role {role} has the rights that the service needs, and no others.")


async def _check(database: Database) -> None:
    async with database.connection() as connection:
        problem = problem_with(await select_schema_state(connection))
    if problem:
        raise SchemaError(problem)
    print_lines(f"The schema is current (version {CURRENT}).")
