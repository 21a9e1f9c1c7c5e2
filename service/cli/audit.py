"""`audit list`."""

import argparse
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from service.cli.commands import (
    Commands,
    add_command,
    add_group,
    add_json_option,
    print_table,
    printable,
    whole_number,
)
from service.command_app import connect_database
from service.domain.audit import ACTIONS, AuditEntry, AuditSearch, audit_entry_to_json
from service.domain.errors import CommandError
from service.domain.events import time_to_json
from service.domain.pagination import Page
from service.json_text import dump_json
from service.usecases.audit import Audit

_MAX_LIMIT: Final = 10_000
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_to(commands: Commands) -> None:
    """Declare the command."""
    group = add_group(commands, "audit", summary="read the audit log", example="projectkeys audit list")
    parser = add_command(
        group,
        "list",
        summary="list changes, newest first, with their time, actor, address, request and data",
        example="projectkeys audit list --org acme --since 7d\n"
        "  projectkeys audit list --key 889a038dcce86f89a24e2c5bcf7b2e41 --json",
        run=_list,
    )
    parser.add_argument("--org", metavar="SLUG", help="only changes in this organization (default: all)")
    parser.add_argument(
        "--project",
        metavar="SLUG",
        help="only changes in this project: its slug with --org, or its id; use the id of a deleted project",
    )
    parser.add_argument(
        "--target",
        "--key",
        metavar="NAME",
        help="only changes of the resource with this public key, slug or token name",
    )
    parser.add_argument(
        "--action", choices=ACTIONS, metavar="ACTION", help=f"only changes of this kind: {', '.join(ACTIONS)}"
    )
    parser.add_argument(
        "--since",
        type=_time,
        metavar="TIME",
        help="only changes since this time: an age (30m, 12h, 7d) or a time (2026-11-24)",
    )
    parser.add_argument(
        "--limit",
        type=whole_number(_MAX_LIMIT),
        default=50,
        metavar="N",
        help="maximum number of entries (default: 50)",
    )
    add_json_option(parser)


def _time(text: str) -> datetime:
    if found := re.fullmatch(r"([0-9]{1,4})([smhdw])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            "must be an age such as 30m, 12h or 7d, or a time such as 2026-11-24T04:54Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


async def _list(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        entries = await _find(Audit(database), options)
    heading = (
        f"{'TIME (UTC)':19}  {'ORGANIZATION':20} {'ACTION':19} {'TARGET':32} {'ACTOR':24} ADDRESS, REQUEST, CHANGE"
    )
    print_table(options, heading, entries, _entry_to_json, _readable_line)


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
        raise CommandError("--project with a slug needs --org: a slug is unique only within its organization")
    return await audit.project_id(organization, project)


def _entry_to_json(entry: AuditEntry) -> Mapping[str, Any]:
    return {**audit_entry_to_json(entry), "organization": entry.organization_slug}


def _readable_line(entry: AuditEntry) -> str:
    actor = "command line" if entry.token_id is None else f"{entry.token_name} ({entry.token_id})"
    change = dump_json(entry.data).decode() if entry.data else "-"
    return printable(
        f"{time_to_json(entry.created_at)[:19]}  {entry.organization_slug or '(all)':20} {entry.action:19} "
        f"{entry.target:32} {actor:24} {entry.remote_address or '-'} {entry.request_id} {change}"
    )
