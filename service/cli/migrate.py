"""`migrate`: creates or updates the database's schema."""

import argparse
import asyncio
import time
from typing import Final

from service.cli.commands import Commands, add_command, print_lines
from service.command_app import connect_database
from service.domain.errors import UnavailableError
from service.usecases.migrations import Migrations

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
        run=_run,
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


async def _run(options: argparse.Namespace) -> None:
    deadline = time.monotonic() + options.wait
    await _wait_for_database(deadline)
    async with connect_database() as database:
        migrations = Migrations(database)
        if options.check:
            await migrations.check()
            print_lines(f"The schema is current (version {migrations.version}).")
        else:
            await _migrate(migrations, max(deadline - time.monotonic(), 0.0), options.grant_to)


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


async def _migrate(migrations: Migrations, wait: float, role: str | None) -> None:
    applied = await migrations.apply(wait=wait, grant_to=role, report=print_lines)
    if applied is None:
        print_lines(f"Created the schema (version {migrations.version}).")
    elif applied:
        print_lines(f"Applied {', '.join(applied)}; the schema is current (version {migrations.version}).")
    else:
        print_lines(f"The schema is already current (version {migrations.version}).")
    if role is not None:
        print_lines(f"The role {role} has the rights that the service needs, and no others.")
