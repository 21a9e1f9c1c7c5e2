"""`key create`, `list`, `show`, `enable`, `disable`, `rename`, `rotate` and `delete`: the use cases of the API."""

import argparse
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from service.app import ingest_from
from service.cli.commands import (
    Commands,
    add_command,
    add_group,
    add_json_option,
    command_line_origin,
    display_name,
    matching,
    print_result,
    printable,
    project_path,
    whole_number,
)
from service.command_app import connect_database, write_context
from service.concurrency.database_clock import DATABASE_CLOCK
from service.domain.dsn import Ingest, endpoints
from service.domain.errors import (
    CommandError,
    GoneError,
    IdempotencyKeyReusedError,
    KeyExpiredError,
    NotFoundError,
)
from service.domain.events import rate_limit_to_json, time_to_json
from service.domain.expiry import parse_expiry
from service.domain.idempotency import IdempotencyKey
from service.domain.model import (
    KEY_HALF,
    MAX_OVERLAP,
    MAX_RATE_LIMIT_COUNT,
    MAX_RATE_LIMIT_WINDOW,
    NewProjectKey,
    Project,
    ProjectKey,
    ProjectKeyChange,
    RateLimit,
    Rotation,
    Unset,
)
from service.domain.pagination import Page
from service.environment import read
from service.settings import KeySettings
from service.usecases.change_keys import ChangeKeys
from service.usecases.create_key import CreateKey
from service.usecases.projects import Projects
from service.usecases.read_keys import ReadKeys
from service.usecases.rotate_key import RotateKey
from service.usecases.usage import Usage
from service.usecases.writes import WriteContext

_LIMIT: Final = re.compile(r"([1-9][0-9]{0,9})/([1-9][0-9]{0,4})")
_EXPIRES_HELP: Final = "when the new key is disabled, such as 2030-01-31T12:00:00Z, or `never` (default: {})"
_LIMIT_HELP: Final = "how many events are accepted in how many seconds, such as 100/60 (default: no limit)"
_OVERLAP_HELP: Final = "how long the old key stays active (default: 86400, one day)"
_NO_TOKEN: Final = 0
"""Commands have idempotency keys of their own."""

_PAGE_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class _Context:
    """What the use cases of a running command depend on, its project and its arguments."""

    writes: WriteContext
    keys: ReadKeys
    ingest: Ingest
    project: Project
    options: argparse.Namespace

    def show(self, key: ProjectKey) -> None:
        """Print a key: its DSN first."""
        shown = self.to_json(key)
        limit = f"{key.rate_limit.count}/{key.rate_limit.window}" if key.rate_limit else "no limit"
        state = "active" if key.is_active else "disabled"
        state += f" until {shown['expiresAt']}" if key.is_active and key.expires_at else ""
        print_result(self.options, shown, f"{shown['dsn']}  {state}  {limit}  {printable(key.label)}")

    def to_json(self, key: ProjectKey) -> dict[str, Any]:
        """Return the JSON members of a key, without its secret half."""
        return {
            "id": key.public_key,
            "name": key.label,
            "projectId": key.project_id,
            "isActive": key.is_active,
            "rateLimit": rate_limit_to_json(key.rate_limit),
            "dsn": endpoints(self.ingest, self.project).dsn % key.public_key,
            "dateCreated": time_to_json(key.created_at),
            "expiresAt": key.expires_at and time_to_json(key.expires_at),
        }


_Action = Callable[[_Context], Awaitable[None]]


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    group = add_group(
        commands,
        "key",
        summary="create, list and change keys",
        example="projectkeys key create acme/web --limit 100/60",
    )
    create = _add(group, "create", "create a key and print its DSN", "acme/web --limit 100/60", _create)
    create.add_argument("--name", type=display_name, help="name of the key (default: two generated words)")
    create.add_argument("--limit", type=_limit, metavar="COUNT/SECONDS", help=_LIMIT_HELP)
    create.add_argument("--expires", type=_expiry, metavar="TIME", help=_EXPIRES_HELP.format("never"))
    _add_idempotency_key(create)
    listing = _add(group, "list", "list the keys of a project, newest first", "acme/web --unused-for 90d", _list)
    listing.add_argument(
        "--unused-for",
        type=_days,
        metavar="DAYS",
        help="only keys that have existed and had no outcome for this long, for example 90d; "
        "exits with 1 if usage has not been counted for as long",
    )
    example = "acme/web 889a038dcce86f89a24e2c5bcf7b2e41"
    for name, summary, action in (
        ("show", "show a key", _show),
        ("enable", "enable a key", partial(_change, is_active=True)),
        ("disable", "disable a key: relays and proxies refuse its events", partial(_change, is_active=False)),
        ("delete", "delete a key; it cannot be restored", _delete),
    ):
        confirmation = " --yes" if name == "delete" else ""
        parser = _add(group, name, summary, example + confirmation, action)
        _add_key(parser)
        if confirmation:
            parser.add_argument("--yes", action="store_true", required=True, help="confirm the deletion")
    rename = _add(group, "rename", "change the name of a key", f"{example} 'New name'", _change)
    _add_key(rename)
    rename.add_argument("name", type=display_name, help="new name")
    _add_rotate(group, example)


def _add_rotate(group: Commands, example: str) -> None:
    summary = "create a key that takes the place of another, which stays active for the overlap"
    rotate = _add(group, "rotate", summary, f"{example} --overlap 604800", _rotate)
    _add_key(rotate)
    rotate.add_argument("--name", type=display_name, help="name of the new key (default: that of the old one)")
    seconds = whole_number(MAX_OVERLAP, lowest=0)
    rotate.add_argument("--overlap", type=seconds, default=86_400, metavar="SECONDS", help=_OVERLAP_HELP)
    default = "that of the old key"
    rotate.add_argument(
        "--expires", type=_expiry, default=Unset.UNSET, metavar="TIME", help=_EXPIRES_HELP.format(default)
    )
    _add_idempotency_key(rotate)


def _add(group: Commands, name: str, summary: str, example: str, action: _Action) -> argparse.ArgumentParser:
    parser = add_command(
        group,
        name,
        summary=summary,
        example=f"projectkeys key {name} {example}",
        run=partial(_run, action=action),
    )
    parser.add_argument("project", type=project_path, metavar="ORG/PROJECT", help="slugs or ids, such as acme/web")
    add_json_option(parser)
    return parser


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key",
        type=matching(KEY_HALF.pattern, "a public key: 32 lower-case hexadecimal digits"),
        metavar="KEY",
        help="public key: the part of the DSN between // and @",
    )


def _add_idempotency_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--idempotency-key",
        type=matching(r"[\x21-\x7e]{1,255}", "1 to 255 visible ASCII characters"),
        metavar="TEXT",
        help="print the key that the first command with this text created in the last 24 hours",
    )


def _limit(text: str) -> RateLimit:
    match = _LIMIT.fullmatch(text)
    if match is None or int(match[1]) > MAX_RATE_LIMIT_COUNT or int(match[2]) > MAX_RATE_LIMIT_WINDOW:
        raise argparse.ArgumentTypeError("must be events and seconds (at most 86400), such as 100/60")
    return RateLimit(window=int(match[2]), count=int(match[1]))


def _expiry(text: str) -> datetime | None:
    try:
        return None if text == "never" else parse_expiry(text, DATABASE_CLOCK.now())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _days(text: str) -> timedelta:
    return timedelta(days=int(matching("[1-9][0-9]{0,3}d", "days, from 1d to 9999d")(text)[:-1]))


async def _run(options: argparse.Namespace, action: _Action) -> None:
    async with _opened(options) as context:
        await action(context)


@asynccontextmanager
async def _opened(options: argparse.Namespace) -> AsyncIterator[_Context]:
    settings, (organization, slug) = read(KeySettings), options.project
    async with connect_database(settings) as database:
        try:
            writes = write_context(database, settings)
            project = await Projects(writes).get(organization, slug)
        except NotFoundError:
            raise CommandError(f"there is no project {slug} in {organization}") from None
        try:
            yield _Context(writes, ReadKeys(database), ingest_from(settings), project, options)
        except NotFoundError:
            missing = f" has no key {options.key}" if "key" in options else " is deleted"
            raise CommandError(f"the project {organization}/{slug}{missing}") from None


async def _create(context: _Context) -> None:
    options, project = context.options, context.project
    new = NewProjectKey(name=options.name, rate_limit=options.limit, expires_at=options.expires)
    request = f"key create {project.id} {options.name!r} {options.limit!r} {options.expires!r}"
    with _repeatable(options, request) as key:
        created = await CreateKey(context.writes).execute(new, project, command_line_origin(), key)
    context.show(created.key)


async def _rotate(context: _Context) -> None:
    options, project = context.options, context.project
    rotation = Rotation(options.overlap, options.name, options.expires)
    with _repeatable(options, f"key rotate {project.id} {options.key} {rotation!r}") as key:
        rotated = await RotateKey(context.writes).execute(project, options.key, rotation, command_line_origin(), key)
    context.show(rotated.key)


@contextmanager
def _repeatable(options: argparse.Namespace, request: str) -> Iterator[IdempotencyKey | None]:
    """Yield the idempotency key of the command, which has the arguments ``request``."""
    text = options.idempotency_key
    try:
        yield IdempotencyKey(_NO_TOKEN, text, hashlib.sha256(request.encode()).digest()) if text else None
    except IdempotencyKeyReusedError:
        raise CommandError("this idempotency key was used with other arguments") from None
    except GoneError:
        raise CommandError("the key that the first command with this idempotency key created is deleted") from None


async def _list(context: _Context) -> None:
    period = context.options.unused_for
    page: Page | None = Page(size=_PAGE_SIZE)
    while page is not None:
        rows = await context.keys.page(context.project, page)
        shown = set(rows.ids)
        if period is not None:
            shown = await Usage(context.writes.database).unused(context.project, rows.ids, period)
        for key in page.of(rows.keys):
            if key.id in shown:
                context.show(key)
        page = Page(_PAGE_SIZE, rows.ids[_PAGE_SIZE]) if len(rows.ids) > _PAGE_SIZE else None


async def _show(context: _Context) -> None:
    context.show(await context.keys.get(context.project, context.options.key))


async def _change(context: _Context, *, is_active: bool | None = None) -> None:
    """Enable or disable a key, or rename it if the command has a name."""
    options = context.options
    change = ProjectKeyChange(name=getattr(options, "name", None), is_active=is_active)
    use_case = ChangeKeys(context.writes, context.keys)
    try:
        updated = await use_case.update(context.project, options.key, change, command_line_origin())
    except KeyExpiredError:
        raise CommandError("the key has expired: first set another expiresAt, or null, over HTTP") from None
    context.show(updated.key)


async def _delete(context: _Context) -> None:
    options, use_case = context.options, ChangeKeys(context.writes, context.keys)
    deleted = await use_case.delete(context.project, options.key, command_line_origin())
    print_result(options, context.to_json(deleted.key), f"Deleted the key {options.key}.")
