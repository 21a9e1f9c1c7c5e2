"""`events tail`: the events as consumers see them, as they come."""

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from aiokafka.errors import KafkaError

from service import settings
from service.app import kafka_connection
from service.cli.commands import Commands, add_command, database, say
from service.cli.event_lines import json_line, readable_line, value_of
from service.domain.errors import NotFoundError
from service.domain.events import EventType
from service.kafka.client import KafkaClient, error_name
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError
from service.kafka.reader import TopicMessage, tail_topic
from service.postgres.projects import select_project

_EVENTS: Final = "projectkey."
"""How the types of events begin; everything else on the topic is the service's own."""

_ANSWER_WITHIN: Final = 5.0
"""Seconds that the first look at the topic may take."""

_EXAMPLE: Final = """\
projectkeys events tail
  projectkeys events tail --from beginning --project acme/web --type deleted
  projectkeys events tail --json | jq .value.dsn.public"""


def add_to(group: Commands) -> None:
    """Declare it."""
    parser = add_command(group, "tail", summary="print each event as it comes", example=_EXAMPLE, run=_run)
    parser.add_argument(
        "--from", dest="start", choices=["now", "beginning"], default="now", help="where to begin (now)"
    )
    parser.add_argument(
        "--project",
        type=_project,
        metavar="PROJECT",
        help="only of this project: its id as events name it, or ORG/SLUG, which the database is asked for",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY",
        help="only of this public key; may be given again",
    )
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        choices=[one.removeprefix(_EVENTS) for one in EventType],
        help="only of this type; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for machines")


def _project(text: str) -> int | tuple[str, str]:
    if text.isdecimal():
        return int(text)
    organization, slash, project = text.partition("/")
    if not (organization and slash and project):
        raise argparse.ArgumentTypeError("an id, or an organization and a project such as acme/web, please")
    return organization, project


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are shown: of one project, of some keys, of some types; nothing said means any."""

    project: int | None = None
    keys: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    _ending: set[str] = field(default_factory=set, init=False)

    def includes(self, seen: TopicMessage) -> bool:
        """Whether a record is one of them; records are asked about in the order of their partitions."""
        kind = seen.headers.get("ce_type", "")
        return (
            kind.startswith(_EVENTS)
            and (not self.types or kind.removeprefix(_EVENTS) in self.types)
            and (not self.keys or seen.key in self.keys)
            and (self.project is None or self._is_of_project(seen, kind))
        )

    def _is_of_project(self, seen: TopicMessage, kind: str) -> bool:
        if seen.value is None:  # a tombstone names no project; the last state, just before it, does
            told = seen.key in self._ending
            self._ending.discard(seen.key)
            return told
        value = value_of(seen)
        told = isinstance(value, dict) and value.get("projectId") == self.project
        if told and kind == EventType.DELETED:
            self._ending.add(seen.key)
        return told


def _run(options: argparse.Namespace) -> int:
    try:
        asyncio.run(_tail(options))
    except (
        BrokenPipeError
    ):  # the reader, `head` perhaps, has seen enough; the flush at exit must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KafkaError, OSError) as error:
        raise KafkaUnavailableError(f"Kafka cannot be read: {error}; look at the KAFKA_* settings") from None
    return 0


async def _tail(options: argparse.Namespace) -> None:
    in_force = settings.read()
    connection, topic = kafka_connection(in_force), in_force.kafka_topic
    wanted = Wanted(
        await _id_of(options.project),
        frozenset(options.key),
        frozenset(options.type),
    )
    await _find(connection, topic)
    from_beginning = options.start == "beginning"
    async with tail_topic(connection, topic, from_beginning=from_beginning) as records:
        print(f"Watching {topic}; Ctrl-C ends it.", file=sys.stderr)  # noqa: T201 -- a command's output
        tasks = [asyncio.create_task(_show(records, wanted, as_json=options.json))]
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            tasks.append(asyncio.create_task(_until_nobody_reads(sys.stdout.fileno())))
        try:
            [ended, *_], _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await ended
        finally:
            for task in tasks:
                task.cancel()


async def _id_of(project: int | tuple[str, str] | None) -> int | None:
    if not isinstance(project, tuple):
        return project
    organization, slug = project
    async with database() as opened, opened.connection() as connection:
        found = await select_project(connection, organization=organization, project=slug)
    if found is None:
        raise NotFoundError(f"there is no project {slug} in {organization}")
    return found.id


async def _find(connection: KafkaConnection, topic: str) -> None:
    """Ask for the topic first: a consumer waits for a missing one for ever, or has the brokers create it."""
    client = KafkaClient(connection, request_timeout=_ANSWER_WITHIN)
    try:
        metadata = await client.topic_metadata(topic)
    finally:
        await client.close()
    if metadata.error:
        raise LookupError(
            f"there is no topic {topic} to be read ({error_name(metadata.error)}): look at KAFKA_TOPIC"
        )


async def _show(records: AsyncIterator[TopicMessage], wanted: Wanted, *, as_json: bool) -> None:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
    async for seen in records:
        if wanted.includes(seen):
            say(json_line(seen) if as_json else readable_line(seen, coloured=coloured))


async def _until_nobody_reads(pipe: int) -> None:
    """Raise BrokenPipeError when the pipe's reader goes, though nothing is written meanwhile."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe, gone.set)  # the writing end of a pipe is never readable but for this
    try:
        await gone.wait()
    finally:
        loop.remove_reader(pipe)
    raise BrokenPipeError
