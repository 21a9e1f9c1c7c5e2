"""`events tail`."""

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from service.cli.commands import (
    Commands,
    add_command,
    add_json_option,
    print_error,
    print_json,
    print_lines,
    project_path,
)
from service.command_app import connect_database, tail
from service.domain.events import EventType, TopicMessage, time_to_json
from service.environment import read
from service.settings import KafkaSettings
from service.usecases.audit import Audit

_TYPE_PREFIX: Final = "projectkey."
"""The prefix of the types of events; the other records of the topic are control records."""

_EXAMPLE: Final = """\
projectkeys events tail
  projectkeys events tail --from beginning --project acme/web --type deleted
  projectkeys events tail --json | jq .value.dsn.public"""

_COLOURS: Final[Mapping[str, str]] = {
    EventType.CREATED: "\x1b[32m",
    EventType.UPDATED: "\x1b[33m",
    EventType.DELETED: "\x1b[31m",
}
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"


def add_to(group: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        group,
        "tail",
        summary="print events as they are published",
        example=_EXAMPLE,
        run=_tail,
    )
    parser.add_argument(
        "--from",
        dest="start",
        choices=["now", "beginning"],
        default="now",
        help="position to start from (default: now)",
    )
    parser.add_argument(
        "--project",
        type=_project,
        metavar="PROJECT",
        help="only events of this project: its id, or ORG/SLUG, which is looked up in the database",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY",
        help="only events of this public key; can be given several times",
    )
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        choices=[event_type.removeprefix(_TYPE_PREFIX) for event_type in EventType],
        help="only events of this type; can be given several times",
    )
    add_json_option(parser)


def _project(text: str) -> int | tuple[str, str]:
    if text.isdecimal():
        return int(text)
    try:
        return project_path(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            "must be an id, or an organization and a project, such as acme/web"
        ) from None


@dataclass(frozen=True, slots=True)
class _Filter:
    """Selects events by project, keys and types; an empty criterion selects all."""

    project: int | None = None
    keys: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    _deleted_keys: set[str] = field(default_factory=set, init=False)
    """Keys of the project whose deletion was read and whose tombstone was not."""

    def selects(self, message: TopicMessage) -> bool:
        """Return whether a record is selected; must be called in the order of the records of each partition."""
        event_type = message.headers.get("ce_type", "")
        return (
            event_type.startswith(_TYPE_PREFIX)
            and (not self.types or event_type.removeprefix(_TYPE_PREFIX) in self.types)
            and (not self.keys or message.key in self.keys)
            and (self.project is None or self._is_of_project(message, event_type))
        )

    def _is_of_project(self, message: TopicMessage, event_type: str) -> bool:
        if message.value is None:  # a tombstone has no project; the record before it has
            selected = message.key in self._deleted_keys
            self._deleted_keys.discard(message.key)
            return selected
        value = _value(message)
        selected = isinstance(value, dict) and value.get("projectId") == self.project
        if selected and event_type == EventType.DELETED:
            self._deleted_keys.add(message.key)
        return selected


async def _tail(options: argparse.Namespace) -> None:
    settings = read(KafkaSettings)
    wanted = _Filter(await _project_id(options.project), frozenset(options.key), frozenset(options.type))
    async with tail(settings, from_beginning=options.start == "beginning") as messages:
        print_error(f"Reading {settings.kafka_topic}; press Ctrl-C to stop.")
        tasks = [asyncio.create_task(_print(messages, wanted, as_json=options.json))]
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            tasks.append(asyncio.create_task(_wait_for_reader_exit(sys.stdout.fileno())))
        try:
            [ended, *_], _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await ended
        finally:
            for task in tasks:
                task.cancel()


async def _project_id(project: int | tuple[str, str] | None) -> int | None:
    if not isinstance(project, tuple):
        return project
    async with connect_database() as database:
        return await Audit(database).project_id(*project)


async def _print(messages: AsyncIterator[TopicMessage], wanted: _Filter, *, as_json: bool) -> None:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
    async for message in messages:
        if not wanted.selects(message):
            continue
        if as_json:
            print_json(_message_to_json(message))
        else:
            print_lines(_readable_line(message, coloured=coloured))


async def _wait_for_reader_exit(pipe: int) -> None:
    """Raise BrokenPipeError when the reader of the pipe ends, even if nothing is written."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe, ended.set)  # the writing end of a pipe becomes readable only then
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pipe)
    raise BrokenPipeError


def _value(message: TopicMessage) -> Any:
    """Return the decoded value of a record; its text if it is not JSON, None for a tombstone."""
    if message.value is None:
        return None
    try:
        return orjson.loads(message.value)
    except orjson.JSONDecodeError:
        return message.value.decode(errors="replace")


def _readable_line(message: TopicMessage, *, coloured: bool) -> str:
    """Return a line for a terminal; the content of the record cannot control it."""
    time = datetime.fromtimestamp(message.timestamp_ms / 1000, UTC)
    event_type = message.headers.get("ce_type", "")
    colour, dim, reset = (_COLOURS.get(event_type, ""), _DIM, _RESET) if coloured else ("", "", "")
    return (
        f"{dim}{time:%H:%M:%S}.{time.microsecond // 1000:03}{reset} {colour}{_quoted(event_type):20}{reset} "
        f"{_quoted(message.key)} v{_quoted(message.headers.get('ce_keyversion', '?'))} {_summary(message)}"
    )


def _summary(message: TopicMessage) -> str:
    if message.value is None:
        return "tombstone"
    state = _value(message)
    if not isinstance(state, dict):
        return f"not a state: {state!r:.60}"
    return f"project {state.get('projectId')!r} {state.get('name')!r}"


def _quoted(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _message_to_json(message: TopicMessage) -> dict[str, Any]:
    return {
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": time_to_json(datetime.fromtimestamp(message.timestamp_ms / 1000, UTC)),
        "key": message.key,
        "headers": message.headers,
        "value": _value(message),
    }
