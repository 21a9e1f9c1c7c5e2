"""`events replay`."""

import argparse
import asyncio
from typing import Any, Final

from service.cli.commands import (
    Commands,
    add_command,
    add_json_option,
    command_line_origin,
    print_error,
    print_lines,
    print_table,
    project_path,
    whole_number,
)
from service.cli.progress import Progress
from service.command_app import connect_database
from service.domain.errors import UnavailableError
from service.domain.events import time_to_json
from service.domain.jobs import JobState
from service.usecases.replays import Replays

_POLL: Final = 0.5
"""Seconds between two queries of the replay's state."""

_MAX_JOBS: Final = 1000
_MAX_RATE: Final = 1_000_000

_DESCRIPTION: Final = """\
Republish the current state of keys in their current versions, and the tombstones of deleted keys.

Use a replay for consumers that lost or missed events; a consumer ignores a version that it has. The events go
through the outbox. Each is inserted while the row of its key is locked, so that it does not follow a newer event of
the key. Replayed events have the header `replayed` and new ids.

The replay is stored in the database and executed batch by batch by the processes that publish (`serve`, `publish`);
it pauses while the outbox is long. This command only shows the progress: Ctrl-C does not stop the replay, and if a
publishing process ends, another one continues the replay. --cancel ends it."""


def add_to(group: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        group,
        "replay",
        summary="republish the current state of keys",
        example="projectkeys events replay --project acme/web\n"
        "  projectkeys events replay --all --rate 500\n"
        "  projectkeys events replay --list\n"
        "  projectkeys events replay --cancel 7",
        run=_run,
    )
    parser.description = _DESCRIPTION
    selection = parser.add_mutually_exclusive_group(required=True)
    selection.add_argument("--project", type=project_path, metavar="ORG/SLUG", help="the keys of this project")
    selection.add_argument("--organization", metavar="SLUG", help="the keys of this organization")
    selection.add_argument("--all", action="store_true", help="all keys")
    selection.add_argument("--list", action="store_true", help="list unfinished replays and other jobs")
    selection.add_argument(
        "--cancel", type=int, metavar="ID", help="end a replay; events already published stay published"
    )
    parser.add_argument(
        "--rate",
        type=whole_number(_MAX_RATE),
        metavar="N",
        help="maximum number of keys per second (default: limited only by the length of the outbox)",
    )
    add_json_option(parser, "one JSON object per line (with --list)")


async def _run(options: argparse.Namespace) -> int:
    async with connect_database() as database:
        replays = Replays(database)
        if options.list:
            heading = f"{'ID':>6} {'KIND':14} {'SCOPE':40} {'DONE':>22} {'RATE':>7} {'SINCE (UTC)':19} STATE"
            print_table(options, heading, await replays.unfinished(limit=_MAX_JOBS), _state_to_json, _readable_line)
            return 0
        if options.cancel is not None:
            await replays.cancel(options.cancel)
            print_lines(f"Replay {options.cancel} was cancelled.")
            return 0
        return await _replay(replays, options)


async def _replay(replays: Replays, options: argparse.Namespace) -> int:
    organization, project = options.project or (options.organization, None)
    job_id = await replays.create(
        command_line_origin(), organization=organization, project=project, rate=options.rate
    )
    print_error(f"Replay {job_id} queued; a running publisher will execute it.")
    if not await replays.count_publishers():
        print_error("No publisher is running: start `projectkeys serve` or `projectkeys publish`.")
    try:
        return await _watch(replays, job_id)
    except (asyncio.CancelledError, UnavailableError):
        print_error(
            f"Replay {job_id} continues: `projectkeys events replay --list` shows it, --cancel {job_id} ends it."
        )
        raise


async def _watch(replays: Replays, job_id: int) -> int:
    progress, failures = Progress(f"Replay {job_id}"), 0
    try:
        while (state := await replays.state(job_id)).finished_at is None:
            progress.show(state.done, state.total)
            if state.failures > failures:
                progress.end()
                print_error(f"A batch failed ({state.last_error}) and will be retried; see the log of the publisher.")
            failures = state.failures
            await asyncio.sleep(_POLL)
    finally:
        progress.end()
    if state.cancelled:
        print_lines(f"Replay {job_id} was cancelled; keys republished before: {state.done}.")
        return 1
    print_lines(f"Keys republished: {state.done}.")
    return 0


def _readable_line(state: JobState) -> str:
    scope = "/".join(part for part in (state.organization, state.project) if part) or "(all)"
    share = f" ({state.done / state.total:.0%})" if state.total else ""
    done = str(state.done) if state.total is None else f"{state.done} of {state.total}{share}"
    return (
        f"{state.id:>6} {state.kind:14} {scope:40} {done:>22} {state.rate or '-':>7} "
        f"{state.created_at:%Y-%m-%d %H:%M:%S} {_status(state)}"
    )


def _status(state: JobState) -> str:
    if state.failures:
        return f"failed {state.failures} times ({state.last_error}), retry in {state.waits:.0f} s"
    return f"next batch in {state.waits:.0f} s" if state.waits >= 1 else "running"


def _state_to_json(state: JobState) -> dict[str, Any]:
    return {
        "id": state.id,
        "kind": state.kind,
        "organization": state.organization,
        "project": state.project,
        "rate": state.rate,
        "done": state.done,
        "total": state.total,
        "failures": state.failures,
        "lastError": state.last_error,
        "since": time_to_json(state.created_at),
    }
