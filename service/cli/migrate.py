"""`migrate`: the database's schema."""

import asyncio

from service.cli.commands import Commands, add_command, database, say
from service.postgres.grants import grant_rights
from service.postgres.schema import CURRENT, SchemaError, current_version, migrate, problem_with


def add_to(commands: Commands) -> None:
    """Declare it."""
    parser = add_command(
        commands,
        "migrate",
        summary="make the database's schema current",
        example="DATABASE_URL=postgresql://… projectkeys migrate\n"
        "  DATABASE_URL=postgresql://owner… projectkeys migrate --grant-to projectkeys_service",
        run=lambda options: asyncio.run(_check() if options.check else _migrate(options.grant_to)),
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if there is something to do"
    )
    either.add_argument(
        "--grant-to", metavar="ROLE", help="also give this role, which the service connects as, what it needs"
    )


async def _migrate(role: str | None) -> int:
    async with database() as opened, opened.transaction() as connection:
        changed = await migrate(connection)
        if role is not None:
            await grant_rights(connection, role)
    say(
        f"The schema is now at version {CURRENT}."
        if changed
        else f"The schema is at version {CURRENT} already."
    )
    if role is not None:
        say(f"The role {role} may do what the service needs, and no more.")
    return 0


async def _check() -> int:
    async with database() as opened, opened.connection() as connection:
        problem = problem_with(await current_version(connection))
    if problem:
        raise SchemaError(problem)
    say(f"The schema is at version {CURRENT}.")
    return 0
