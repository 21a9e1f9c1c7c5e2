"""`token create`, `token list` and `token revoke`."""

import argparse
import os
import stat
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from service.cli.commands import (
    Commands,
    add_command,
    add_group,
    add_json_option,
    command_line_origin,
    display_name,
    print_error,
    print_result,
    print_table,
    whole_number,
)
from service.command_app import connect_database
from service.domain.errors import CommandError
from service.domain.scopes import SCOPES
from service.domain.tokens import TokenRow, token_to_json
from service.usecases.tokens import Tokens

_MAX_DAYS: Final = 36_500
_MAX_RATE: Final = 1_000_000
_MAX_FILE_BYTES: Final = 4096
"""More than ten times the length of a token."""


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    group = add_group(commands, "token", summary="create, list and revoke tokens", example="projectkeys token list")
    _add_create(group)
    listing = add_command(
        group,
        "list",
        summary="list tokens with their scopes, state and last use",
        example="projectkeys token list",
        run=_list,
    )
    add_json_option(listing)
    revoke = add_command(
        group,
        "revoke",
        summary="revoke a token; every replica rejects it within 5 seconds",
        example="projectkeys token revoke 3",
        run=_revoke,
    )
    revoke.add_argument("id", type=int, help="id of the token, from `projectkeys token list`")
    add_json_option(revoke)


def _add_create(group: Commands) -> None:
    parser = add_command(
        group,
        "create",
        summary="create a token and print it; it cannot be shown again",
        example="projectkeys token create terraform --org acme --scope project:admin --days 90\n"
        "  openssl rand -hex 32 | projectkeys token create ci --scope org:admin --from-file -",
        run=_create,
    )
    parser.add_argument("name", type=display_name, help="name of the token in lists and in the audit log")
    parser.add_argument("--org", metavar="SLUG", help="organization to which the token is limited (default: all)")
    parser.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=SCOPES,
        metavar="SCOPE",
        help=f"scope of the token, one of {', '.join(SCOPES)}; can be given several times",
    )
    parser.add_argument("--days", type=_days, help="number of days after which the token expires (default: never)")
    parser.add_argument(
        "--rate",
        type=whole_number(_MAX_RATE),
        metavar="N",
        help="maximum number of requests per second that each replica accepts (default: no limit)",
    )
    parser.add_argument(
        "--from-file",
        metavar="PATH",
        help="file that contains the token (-: standard input); without it a token is generated and printed",
    )
    add_json_option(parser)


def _days(text: str) -> timedelta:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {_MAX_DAYS}")
    return timedelta(days=days)


async def _create(options: argparse.Namespace) -> None:
    # The token is no argument, since other users of the machine can see the arguments of processes.
    token = None if options.from_file is None else _read_token(options.from_file)
    async with connect_database() as database:
        created = await Tokens(database).create(
            options.name,
            scopes=options.scope,
            organization=options.org,
            expires_at=datetime.now(UTC) + options.days if options.days else None,
            rate_limit=options.rate,
            token=token,
            origin=command_line_origin(),
        )
    value = {"name": options.name, "token": created if token is None else None}
    print_result(options, value, value["token"] or f"Created the token {options.name}.")


async def _list(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        rows = await Tokens(database).list()
    heading = (
        f"{'ID':>4}  {'NAME':24} {'ORGANIZATION':20} {'LAST 4':6}  {'STATE':24} {'LAST USED (UTC)':16} "
        f"{'RATE':>7} SCOPES"
    )
    print_table(options, heading, rows, _row_to_json, _readable_line)


def _row_to_json(row: TokenRow) -> Mapping[str, Any]:
    return {"organization": row.organization_slug, **token_to_json(row)}


def _readable_line(row: TokenRow) -> str:
    used = f"{row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never"
    rate = f"{row.rate_limit}/s" if row.rate_limit else "-"
    return (
        f"{row.id:>4}  {row.name:24} {row.organization_slug or '(all)':20} {row.last_four:6}  {_state(row):24} "
        f"{used:16} {rate:>7} {' '.join(row.scopes)}"
    )


def _state(row: TokenRow) -> str:
    if row.revoked_at:
        return "revoked"
    if row.expires_at is None:
        return "active"
    return f"{'expires' if row.expires_at > datetime.now(UTC) else 'expired'} {row.expires_at:%Y-%m-%d %H:%M}"


async def _revoke(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        name = await Tokens(database).revoke(options.id, command_line_origin())
    print_result(options, {"id": str(options.id), "name": name}, f"Revoked the token {name}.")


def _read_token(path: str) -> str:
    try:
        if path == "-":
            raw = _read(sys.stdin.buffer, "standard input")
        else:
            with Path(path).open("rb") as file:
                raw = _read(file, path)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    text = raw.decode(errors="replace").strip()
    if not text:
        raise CommandError(f"{path} contains no token")
    return text


def _read(file: BinaryIO, name: str) -> bytes:
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        print_error(
            f"Warning: all users of this machine can read {name}; run `chmod 600` on it or use another token."
        )
    return file.read(_MAX_FILE_BYTES)
