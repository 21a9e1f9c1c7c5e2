"""What the subcommands share: how one is declared, and how it uses the database."""

import argparse
import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from service import settings
from service.app import open_database
from service.domain.model import Origin
from service.postgres.database import Database

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 -- has no public name
"""Where subcommands are declared."""

Run = Callable[[argparse.Namespace], int]


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
    """
    opened = open_database(settings.read())
    await opened.start()
    try:
        yield opened
    finally:
        await opened.close()


def command_line_origin() -> Origin:
    """Where a write comes from that somebody typed."""
    return Origin(token_id=None, request_id=f"cli-{secrets.token_hex(8)}")


def say(*lines: Any) -> None:
    """Print a command's result."""
    for line in lines:
        print(line, flush=True)  # noqa: T201 -- a command's output


def run_async(work: Any) -> int:
    """Run a subcommand's coroutine, which is over when it returns."""
    asyncio.run(work)
    return 0
