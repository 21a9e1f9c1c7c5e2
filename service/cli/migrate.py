"""`migrate`: the database's schema."""

import asyncio

from service.cli.commands import Commands, add_command, database, say
from service.postgres.schema import CURRENT, SchemaError, current_version, migrate, problem_with


def add_to(commands: Commands) -> None:
    """Declare it."""
    parser = add_command(
        commands,
        "migrate",
        summary="make the database's schema current",
        example="DATABASE_URL=postgresql://… projectkeys migrate",
        run=lambda options: asyncio.run(_check() if options.check else _migrate()),
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if there is something to do"
    )


async def _migrate() -> int:
    async with database() as opened, opened.connection() as connection:
        changed = await migrate(connection)
    say(
        f"The schema is now at version {CURRENT}."
        if changed
        else f"The schema is at version {CURRENT} already."
    )
    return 0


async def _check() -> int:
    async with database() as opened, opened.connection() as connection:
        problem = problem_with(await current_version(connection))
    if problem:
        raise SchemaError(problem)
    say(f"The schema is at version {CURRENT}.")
    return 0
