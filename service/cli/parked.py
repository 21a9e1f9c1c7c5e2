"""`events parked list`, `events parked retry`, `events parked discard`."""

import asyncio
import sys
from typing import Final

import orjson

from service.cli.commands import Commands, add_command, command_line_origin, database, say
from service.domain.events import EventType, time_to_json
from service.postgres.outbox_admin import ParkedRow
from service.usecases.parked import Parked

_MOST: Final = 1000
"""Rows that are listed: with more, the reason is one and the same."""


def add_to(commands: Commands) -> None:
    """Declare them."""
    group = add_command(
        commands,
        "parked",
        summary="look after events that Kafka refuses for good",
        example="projectkeys events parked list",
    ).add_subparsers(metavar="COMMAND", required=True)
    listing = add_command(
        group,
        "list",
        summary="list the events that Kafka refuses; later ones of their keys wait behind them",
        example="projectkeys events parked list --json",
        run=lambda options: asyncio.run(_list(as_json=options.json)),
    )
    listing.add_argument("--json", action="store_true", help="one JSON object a line, for machines")
    retry = add_command(
        group,
        "retry",
        summary="try parked events again, when what Kafka refused them for is mended",
        example="projectkeys events parked retry 889a038dcce86f89a24e2c5bcf7b2e41\n"
        "  projectkeys events parked retry --all",
        run=lambda options: asyncio.run(_retry(options.key)),
    )
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("key", nargs="?", metavar="KEY", help="the public key whose event is parked")
    which.add_argument("--all", action="store_true", help="every parked event")
    discard = add_command(
        group,
        "discard",
        summary="delete a parked event, which consumers then never hear of",
        example="projectkeys events parked discard 889a038dcce86f89a24e2c5bcf7b2e41 --yes",
        run=lambda options: asyncio.run(_discard(options.key, certain=options.yes)),
    )
    discard.add_argument("key", metavar="KEY", help="the public key whose event is parked")
    discard.add_argument(
        "--yes", action="store_true", help="do it; without, it is only said what would be lost"
    )


async def _list(*, as_json: bool) -> int:
    async with database() as opened:
        rows = await Parked(opened).list(limit=_MOST + 1)
    form = _json_line if as_json else _readable_line
    if not as_json:
        say(
            f"{'SHARD':>5} {'SEQ':>10} {'KEY':32} {'TYPE':20} {'VERSION':>7} {'SINCE':19} {'ATTEMPTS':>8} REASON"
        )
    say(*(form(row) for row in rows[:_MOST]))
    if len(rows) > _MOST:
        print(f"There are more than these {_MOST}.", file=sys.stderr)  # noqa: T201 -- a command's output
    return 0


def _readable_line(row: ParkedRow) -> str:
    return (
        f"{row.shard:>5} {row.seq:>10} {row.public_key:32} {row.type:20} {row.version:>7} "
        f"{row.since:%Y-%m-%d %H:%M:%S} {row.attempts:>8} {row.reason}"
    )


def _json_line(row: ParkedRow) -> str:
    line = {
        "shard": row.shard,
        "seq": row.seq,
        "key": row.public_key,
        "type": row.type,
        "version": row.version,
        "since": time_to_json(row.since),
        "attempts": row.attempts,
        "reason": row.reason,
    }
    return orjson.dumps(line).decode()


async def _retry(key: str | None) -> int:
    async with database() as opened:
        released = await Parked(opened).retry(key)
    say(f"Events that are tried again: {released}.")
    return 0


async def _discard(key: str, *, certain: bool) -> int:
    async with database() as opened:
        row, behind = await Parked(opened).find(key)
        if certain:
            await Parked(opened).discard(row, command_line_origin())
    say(*_what_is_lost(row, behind))
    if not certain:
        say("Nothing was deleted: say --yes to do it.")
        return 1
    say(f"The event {row.type} of {key}, version {row.version}, is deleted.")
    return 0


def _what_is_lost(row: ParkedRow, behind: int) -> list[str]:
    lines = [f"Consumers never hear of version {row.version} of {row.public_key} ({row.type})."]
    if behind:
        lines.append(f"They go on with the later events that wait behind it: {behind}.")
    elif row.type == EventType.DELETED:
        lines.append("They keep the deleted key until a replay tells of it again.")
    else:
        lines.append("They keep the state before it until the key changes again or a replay tells of it.")
    return lines
