"""`events tail`: the events as consumers see them; the other commands on events beside it."""

import argparse
import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError

from service import settings
from service.app import kafka_connection
from service.cli import parked, reconcile, replay
from service.cli.commands import Commands, add_command, say
from service.domain.events import wire_time
from service.kafka.client import KafkaClient, error_name
from service.kafka.connection import KafkaConnection
from service.kafka.errors import KafkaUnavailableError
from service.kafka.tail import Seen, tail

_EVENTS: Final = "projectkey."
"""How the types of events begin; everything else on the topic is the service's own."""

_ANSWER_WITHIN: Final = 5.0
"""Seconds that the first look at the topic may take."""


def add_to(commands: Commands) -> None:
    """Declare it."""
    group = add_command(
        commands, "events", summary="watch and look after the events", example="projectkeys events tail"
    ).add_subparsers(metavar="COMMAND", required=True)
    parser = add_command(
        group,
        "tail",
        summary="print each event as it comes",
        example="projectkeys events tail --from beginning",
        run=_tail,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for machines")
    parser.add_argument(
        "--from", dest="start", choices=["now", "beginning"], default="now", help="where to begin (now)"
    )
    parked.add_to(group)
    replay.add_to(group)
    reconcile.add_to(group)


def _tail(options: argparse.Namespace) -> int:
    try:
        asyncio.run(_follow(as_json=options.json, from_beginning=options.start == "beginning"))
    except (
        BrokenPipeError
    ):  # the reader, `head` perhaps, has seen enough; the flush at exit must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KafkaError, OSError) as error:
        raise KafkaUnavailableError(f"Kafka cannot be read: {error}; look at the KAFKA_* settings") from None
    return 0


async def _follow(*, as_json: bool, from_beginning: bool) -> None:
    in_force = settings.read()
    connection, topic = kafka_connection(in_force), in_force.kafka_topic
    await _find(connection, topic)
    form = _json_line if as_json else _readable_line
    if not as_json:
        print(f"Watching {topic}; Ctrl-C ends it.", file=sys.stderr)  # noqa: T201 -- a command's output
    async for seen in tail(connection, topic, from_beginning=from_beginning):
        if seen.headers.get("ce_type", "").startswith(_EVENTS):
            say(form(seen))


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


def _readable_line(seen: Seen) -> str:
    state: dict[str, Any] = orjson.loads(seen.value) if seen.value else {}
    when = datetime.fromtimestamp(seen.timestamp_ms / 1000, UTC)
    told = (
        f"{when:%H:%M:%S}.{when.microsecond // 1000:03} {seen.headers['ce_type']:20} {seen.key} "
        f"v{seen.headers.get('ce_keyversion', '?')} "
    )
    if seen.value is None:
        return told + "tombstone"
    return told + f"project {state.get('projectId', '?')} {state.get('name', '')!r}"


def _json_line(seen: Seen) -> str:
    line = {
        "partition": seen.partition,
        "offset": seen.offset,
        "timestamp": wire_time(datetime.fromtimestamp(seen.timestamp_ms / 1000, UTC)),
        "key": seen.key,
        "headers": seen.headers,
        "value": orjson.loads(seen.value) if seen.value else None,
    }
    return orjson.dumps(line).decode()
