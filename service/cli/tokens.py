"""`token create`, `token list`, `token revoke`."""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from service.cli.commands import (
    Commands,
    add_command,
    command_line_origin,
    database,
    name_for_people,
    say,
)
from service.cli.token_file import read_token
from service.domain.scopes import SCOPES
from service.usecases.tokens import Tokens

_MOST_DAYS: Final = 36_500
_MOST_RATE: Final = 1_000_000


def add_to(commands: Commands) -> None:
    """Declare them."""
    group = add_command(
        commands, "token", summary="make, list and revoke tokens", example="projectkeys token list"
    ).add_subparsers(metavar="COMMAND", required=True)
    create = add_command(
        group,
        "create",
        summary="make a token and print it, this once",
        example="projectkeys token create terraform --org acme --scope project:admin --days 90\n"
        "  openssl rand -hex 32 | projectkeys token create ci --scope org:admin --from-file -",
        run=lambda options: asyncio.run(_create(options)),
    )
    create.add_argument("name", type=name_for_people, help="what people call it")
    create.add_argument(
        "--org", metavar="SLUG", help="the one organization it may see; all of them if not given"
    )
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=SCOPES,
        help="what it may do; can be given several times",
    )
    create.add_argument("--days", type=_days, help="days after which it ends; never if not given")
    create.add_argument(
        "--rate", type=_rate, metavar="N", help="requests a second, of each replica; no limit if not given"
    )
    create.add_argument(
        "--from-file",
        metavar="PATH",
        help="take the token that is in this file (-: standard input), print none",
    )
    add_command(
        group,
        "list",
        summary="list the tokens; the tokens themselves are kept nowhere",
        example="projectkeys token list",
        run=lambda _: asyncio.run(_list()),
    )
    revoke = add_command(
        group,
        "revoke",
        summary="end a token, within 5 seconds on every replica",
        example="projectkeys token revoke 3",
        run=lambda options: asyncio.run(_revoke(options)),
    )
    revoke.add_argument("id", type=int, help="its number in the list")


def _days(text: str) -> timedelta:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"a number above 0 and up to {_MOST_DAYS}, please")
    return timedelta(days=days)


def _rate(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= _MOST_RATE):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {_MOST_RATE}, please")
    return int(text)


async def _create(options: argparse.Namespace) -> int:
    given = None if options.from_file is None else read_token(options.from_file)
    async with database() as opened:
        token = await Tokens(opened).create(
            options.name,
            scopes=options.scope,
            organization=options.org,
            expires_at=datetime.now(UTC) + options.days if options.days else None,
            rate_limit=options.rate,
            token=given,
            origin=command_line_origin(),
        )
    say(token if given is None else f"The token {options.name} is known from now on.")
    return 0


async def _list() -> int:
    async with database() as opened:
        rows = await Tokens(opened).list()
    say(
        f"{'ID':>4}  {'NAME':24} {'ORGANIZATION':20} {'ENDS WITH':9}  {'STATE':22} {'LAST USED (UTC)':16} "
        f"{'RATE':>7} SCOPES"
    )
    for row in rows:
        state = "revoked" if row.revoked_at else _expiry(row.expires_at)
        organization = row.organization_slug or "(all)"
        scopes = " ".join(row.scopes)
        used = f"{row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never"
        say(
            f"{row.id:>4}  {row.name:24} {organization:20} {row.last_four:9}  {state:22} {used:16} "
            f"{f'{row.rate_limit}/s' if row.rate_limit else '-':>7} {scopes}"
        )
    return 0


def _expiry(expires_at: datetime | None) -> str:
    if expires_at is None:
        return "good"
    return f"{'until' if expires_at > datetime.now(UTC) else 'ended'} {expires_at:%Y-%m-%d %H:%M}"


async def _revoke(options: argparse.Namespace) -> int:
    async with database() as opened:
        name = await Tokens(opened).revoke(options.id, command_line_origin())
    say(f"The token {name} is revoked.")
    return 0
