"""`audit list`: who changed what, when and from where."""

import argparse
import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from service.cli.commands import Commands, add_command, database, say
from service.domain.audit import ACTIONS, AuditEntry, AuditSearch
from service.domain.events import time_to_json
from service.domain.pagination import Page
from service.http.handlers.audit import audit_entry_to_json
from service.usecases.audit import Audit

_MOST: Final = 10_000
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_to(commands: Commands) -> None:
    """Declare it."""
    group = add_command(
        commands, "audit", summary="read the audit", example="projectkeys audit list"
    ).add_subparsers(metavar="COMMAND", required=True)
    parser = add_command(
        group,
        "list",
        summary="list who changed what, newest first",
        example="projectkeys audit list --org acme --since 7d\n"
        "  projectkeys audit list --key 889a038dcce86f89a24e2c5bcf7b2e41 --json",
        run=lambda options: asyncio.run(_list(options)),
    )
    parser.add_argument("--org", metavar="SLUG", help="of this organization; of all, if not given")
    parser.add_argument(
        "--project", metavar="SLUG", help="of this project; an id too, which a project that is gone still has"
    )
    parser.add_argument("--target", "--key", metavar="NAME", help="of this public key, slug or token's name")
    parser.add_argument("--action", choices=ACTIONS, metavar="ACTION", help=f"one of {', '.join(ACTIONS)}")
    parser.add_argument(
        "--since", type=_moment, metavar="WHEN", help="not before: 30m, 12h, 7d, or 2026-11-24"
    )
    parser.add_argument("--limit", type=_limit, default=50, metavar="N", help="at most so many (50)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for machines")


def _moment(text: str) -> datetime:
    if found := re.fullmatch(r"([0-9]{1,4})([smhdw])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            "30m, 12h, 7d, or a time such as 2026-11-24T04:54Z, please"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _limit(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"a number from 1 to {_MOST}, please")
    return int(text)


async def _list(options: argparse.Namespace) -> int:
    async with database() as opened:
        entries = await _find(Audit(opened), options)
    if not options.json:
        say(
            f"{'TIME (UTC)':19}  {'ORGANIZATION':20} {'ACTION':19} {'TARGET':32} {'BY':24} FROM, REQUEST, CHANGE"
        )
    for entry in entries:
        say(_json_line(entry) if options.json else _readable_line(entry))
    return 0


async def _find(audit: Audit, options: argparse.Namespace) -> Sequence[AuditEntry]:
    search = AuditSearch(
        project_id=await _project_id(audit, options.org, options.project),
        action=options.action,
        target=options.target,
        since=options.since,
    )
    page = Page(size=options.limit)
    if options.org is None:
        return page.of(await audit.of_all(search, page))
    return page.of(await audit.of_organization(options.org, search, page))


async def _project_id(audit: Audit, organization: str | None, project: str | None) -> int | None:
    if project is None or project.isdecimal():
        return None if project is None else int(project)
    if organization is None:
        raise ValueError(
            "--project with a slug needs --org: each organization may have a project of this name"
        )
    return await audit.project_id(organization, project)


def _json_line(entry: AuditEntry) -> str:
    return orjson.dumps({**audit_entry_to_json(entry), "organization": entry.organization_slug}).decode()


def _readable_line(entry: AuditEntry) -> str:
    actor = "command line" if entry.token_id is None else f"{entry.token_name} ({entry.token_id})"
    change = orjson.dumps(entry.data).decode() if entry.data else "nothing"
    line = (
        f"{time_to_json(entry.created_at)[:19]}  {entry.organization_slug or '(all)':20} {entry.action:19} "
        f"{entry.target:32} {actor:24} {entry.remote_address or '-'} {entry.request_id} {change}"
    )
    # Names are the callers' choice: none may steer the terminal.
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
