"""`events parked list`, `events parked retry` and `events parked discard`."""

import argparse
from collections.abc import Iterator
from typing import Any, Final

from service.cli.commands import (
    Commands,
    add_command,
    add_group,
    add_json_option,
    command_line_origin,
    print_error,
    print_lines,
    print_table,
)
from service.command_app import connect_database
from service.domain.events import EventType, ParkedRow, time_to_json
from service.usecases.parked import Parked

_MAX_ROWS: Final = 1000
"""The maximum number of rows that are listed; many parked rows usually have the same reason."""


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    group = add_group(
        commands,
        "parked",
        summary="list, retry or discard events that Kafka rejects for good",
        example="projectkeys events parked list",
        note="",
    )
    listing = add_command(
        group,
        "list",
        summary="list parked events; each blocks the later events of its key",
        example="projectkeys events parked list --json",
        run=_list,
    )
    add_json_option(listing)
    retry = add_command(
        group,
        "retry",
        summary="publish parked events again, after their cause was removed",
        example="projectkeys events parked retry 889a038dcce86f89a24e2c5bcf7b2e41\n"
        "  projectkeys events parked retry --all",
        run=_retry,
    )
    selection = retry.add_mutually_exclusive_group(required=True)
    selection.add_argument("key", nargs="?", metavar="KEY", help="public key whose event is parked")
    selection.add_argument("--all", action="store_true", help="retry all parked events")
    discard = add_command(
        group,
        "discard",
        summary="delete a parked event; consumers will never receive it",
        example="projectkeys events parked discard 889a038dcce86f89a24e2c5bcf7b2e41 --yes",
        run=_discard,
    )
    discard.add_argument("key", metavar="KEY", help="public key whose event is parked")
    discard.add_argument(
        "--yes",
        action="store_true",
        help="delete the event; without --yes, print the consequences and exit with 1",
    )


async def _list(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        rows = await Parked(database).list(limit=_MAX_ROWS + 1)
    heading = (
        f"{'SHARD':>5} {'SEQ':>10} {'KEY':32} {'TYPE':20} {'VERSION':>7} {'SINCE (UTC)':19} {'ATTEMPTS':>8} REASON"
    )
    print_table(options, heading, rows[:_MAX_ROWS], _row_to_json, _readable_line)
    if len(rows) > _MAX_ROWS:
        print_error(f"Only the first {_MAX_ROWS} parked events are listed.")


def _readable_line(row: ParkedRow) -> str:
    return (
        f"{row.shard:>5} {row.seq:>10} {row.public_key:32} {row.type:20} {row.version:>7} "
        f"{row.since:%Y-%m-%d %H:%M:%S} {row.attempts:>8} {row.reason}"
    )


def _row_to_json(row: ParkedRow) -> dict[str, Any]:
    return {
        "shard": row.shard,
        "seq": row.seq,
        "key": row.public_key,
        "type": row.type,
        "version": row.version,
        "since": time_to_json(row.since),
        "attempts": row.attempts,
        "reason": row.reason,
    }


async def _retry(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        count = await Parked(database).retry(options.key)
    print_lines(f"Events to be published again: {count}.")


async def _discard(options: argparse.Namespace) -> int:
    async with connect_database() as database:
        row, blocked = await Parked(database).find(options.key)
        if options.yes:
            await Parked(database).discard(row, command_line_origin())
    print_lines(*_consequences(row, blocked))
    if not options.yes:
        print_lines("Dry run: nothing was deleted. Use --yes to delete the event.")
        return 1
    print_lines(f"Deleted the event {row.type} of {options.key}, version {row.version}.")
    return 0


def _consequences(row: ParkedRow, blocked: int) -> Iterator[str]:
    yield f"Consumers never receive version {row.version} of {row.public_key} ({row.type})."
    if blocked:
        yield f"They receive the later events of the key that it blocks: {blocked}."
    elif row.type == EventType.DELETED:
        yield "They keep the deleted key until a replay republishes its deletion."
    else:
        yield "They keep the previous state until the key changes again or is replayed."
