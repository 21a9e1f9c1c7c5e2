"""`events replay`: the state of keys told again."""

import argparse
import asyncio
import sys
from typing import Final

import orjson

from service.cli.commands import Commands, add_command, command_line_origin, database, say
from service.cli.progress import Progress
from service.domain.errors import UnavailableError
from service.domain.events import time_to_json
from service.postgres.job_states import JobState
from service.usecases.replays import Replays

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at how far it has come."""

_MOST: Final = 1000
_GREATEST_RATE: Final = 1_000_000

_WORDS: Final = """\
Tell of keys again: each one's whole state in the version it has, and the tombstone of each deleted one.

For consumers that have lost or missed something. Those that know a version already pass over it. The events go
through the outbox, each under the lock of its key, so that none can follow a newer one; they carry the header
`replayed` and an id of their own.

The work is written down in the database and done by the processes that publish (`serve`, `publish`), a batch at a
time, waiting whenever much is on its way. This command only watches: Ctrl-C leaves the replay running, a process that
is killed is stood in for by another, and --cancel ends it."""


def add_to(group: Commands) -> None:
    """Declare it."""
    parser = add_command(
        group,
        "replay",
        summary="tell of keys again, as they are now",
        example="projectkeys events replay --project acme/web\n"
        "  projectkeys events replay --all --rate 500\n"
        "  projectkeys events replay --list\n"
        "  projectkeys events replay --cancel 7",
        run=lambda options: asyncio.run(_run(options)),
    )
    parser.description = _WORDS
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--project", type=_project, metavar="ORG/SLUG", help="the keys of this project")
    what.add_argument("--organization", metavar="SLUG", help="the keys of this organization")
    what.add_argument("--all", action="store_true", help="all keys")
    what.add_argument(
        "--list", action="store_true", help="show the replays and other jobs that are under way"
    )
    what.add_argument(
        "--cancel", type=int, metavar="ID", help="end a replay; what it has told already stays told"
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        metavar="N",
        help="keys a second at most; as fast as live events allow, if not given",
    )
    parser.add_argument(
        "--json", action="store_true", help="with --list: one JSON object a line, for machines"
    )


def _project(text: str) -> tuple[str, str]:
    organization, slash, project = text.partition("/")
    if not (organization and slash and project):
        raise argparse.ArgumentTypeError("an organization and a project, such as acme/web, please")
    return organization, project


def _rate(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= _GREATEST_RATE):
        raise argparse.ArgumentTypeError(f"a number from 1 to {_GREATEST_RATE}, please")
    return int(text)


async def _run(options: argparse.Namespace) -> int:
    async with database() as opened:
        replays = Replays(opened)
        if options.list:
            return await _list(replays, as_json=options.json)
        if options.cancel is not None:
            await replays.cancel(options.cancel)
            say(f"The replay {options.cancel} is cancelled.")
            return 0
        return await _replay(replays, options)


async def _replay(replays: Replays, options: argparse.Namespace) -> int:
    organization, project = options.project or (options.organization, None)
    job_id = await replays.ask(
        command_line_origin(), organization=organization, project=project, rate=options.rate
    )
    _tell(f"The replay {job_id} is written down; the processes of the service do it.")
    if not await replays.publishers():
        _tell("Nobody publishes at the moment: start `projectkeys serve` or `projectkeys publish`.")
    try:
        return await _watch(replays, job_id)
    except (asyncio.CancelledError, UnavailableError):
        _tell(
            f"The replay {job_id} goes on: `projectkeys events replay --list` shows it, --cancel {job_id} ends it."
        )
        raise


async def _watch(replays: Replays, job_id: int) -> int:
    progress, failures = Progress(f"Replay {job_id}"), 0
    try:
        while (state := await replays.state(job_id)).finished_at is None:
            progress.show(state.done, state.total)
            if state.failures > failures:
                progress.end()
                _tell(
                    f"A batch failed ({state.last_error}) and is tried again; the process's log tells more."
                )
            failures = state.failures
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        progress.end()
    if state.cancelled:
        say(f"The replay {job_id} was cancelled; keys that had been told again: {state.done}.")
        return 1
    say(f"Keys told again: {state.done}.")
    return 0


async def _list(replays: Replays, *, as_json: bool) -> int:
    states = await replays.unfinished(limit=_MOST)
    if not as_json:
        say(f"{'ID':>6} {'KIND':14} {'OF':40} {'DONE':>22} {'RATE':>7} {'SINCE (UTC)':19} STATE")
    say(*(_json_line(state) if as_json else _readable_line(state) for state in states))
    return 0


def _readable_line(state: JobState) -> str:
    of = "/".join(part for part in (state.organization, state.project) if part) or "(all)"
    share = f" ({state.done / state.total:.0%})" if state.total else ""
    done = f"{state.done}{share}" if state.total is None else f"{state.done} of {state.total}{share}"
    return (
        f"{state.id:>6} {state.kind:14} {of:40} {done:>22} {state.rate or '-':>7} "
        f"{state.created_at:%Y-%m-%d %H:%M:%S} {_condition(state)}"
    )


def _condition(state: JobState) -> str:
    if state.failures:
        return f"failed {state.failures} times ({state.last_error}), tried again in {state.waits:.0f} s"
    return f"goes on in {state.waits:.0f} s" if state.waits >= 1 else "under way"


def _json_line(state: JobState) -> str:
    line = {
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
    return orjson.dumps(line).decode()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a command's output
